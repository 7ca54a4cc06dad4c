"""Sources that have a name instead of a file, such as ``torchvision:resnet18``."""

from __future__ import annotations


def names() -> dict[str, list[str]]:
    """Names in groups, for a list to choose from. Imports no framework."""
    from lib.convert.formats.diffusers import sources as diffusers_sources
    from lib.convert.formats.jax.examples import EXAMPLES
    from lib.convert.formats.pytorch import architectures

    others = {"diffusers": list(diffusers_sources.SOURCES), "jax": [f"jax:{name}" for name in EXAMPLES]}
    return architectures.names() | others
