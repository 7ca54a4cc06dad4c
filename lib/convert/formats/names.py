"""Built-in sources, addressed by name instead of a file, such as ``torchvision:resnet18``."""

from __future__ import annotations


def names() -> dict[str, list[str]]:
    """Returns source names by group, for a dropdown. Imports no framework."""
    from lib.convert.formats.diffusers import sources as diffusers_sources
    from lib.convert.formats.jax.examples import EXAMPLES
    from lib.convert.formats.pytorch import architectures

    extra_groups = {"diffusers": list(diffusers_sources.SOURCES), "jax": [f"jax:{name}" for name in EXAMPLES]}
    return architectures.names() | extra_groups
