"""Turn a source into an artifact: an upload through ``admit``, a name through the module for its kind.

Runs in a child process. The kind of a name is the part before the colon: ``torchvision:resnet18``.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

from lib.convert.formats import main_file
from lib.errors import InvalidValue

KINDS = ("torchvision", "transformers", "diffusers", "jax", "hub")
KINDS_WITH_WEIGHTS = ("torchvision", "transformers")  # a file uploaded with such a name has the model's weights


def admit_source(
    files: dict[str, Path], name: str, folder: Path, *, allow_pt2: bool = False, allow_hub: bool = False
) -> tuple[str, list[str]]:
    """Store the artifact in ``folder``. Returns its format and messages. Raises InvalidFile or InvalidValue."""
    if not name.strip():
        if not files:
            raise InvalidValue("source", "nothing", "an uploaded file, or a name such as torchvision:mobilenet_v3_small")
        from lib.convert.intake import admit

        format, messages = admit.admit_upload(files, folder, allow_pt2=allow_pt2)
        if format == "architecture":  # a transformers config.json, perhaps with weights
            from lib.convert.formats.pytorch import architectures

            weights = folder / "weights.safetensors"
            config = folder / "config.json"
            prepared = folder.with_name(f"{folder.name}-made")
            prepared.mkdir()
            weights_path = weights if weights.is_file() else None
            messages += architectures.prepare("transformers:", weights_path, config, prepared)
            for old in folder.iterdir():
                old.unlink()
            for new in prepared.iterdir():
                new.rename(folder / new.name)
            prepared.rmdir()
        return format, messages
    name = full_name(name)
    kind, colon, rest = name.partition(":")
    if not colon or kind not in KINDS:
        kinds = [k for k in KINDS if allow_hub or k != "hub"]
        matches = get_close_matches(name, [full.partition(":")[2] for full in _all_names()], 1)
        hint = f" (did you mean {matches[0]}?)" if matches else ""
        raise InvalidValue("source", name, f"{', '.join(f'{k}:…' for k in kinds)}{hint}")
    if files and kind not in KINDS_WITH_WEIGHTS:
        raise InvalidValue("files", ", ".join(files), f"none with {kind}:…, which has its own weights")
    if kind == "diffusers":
        from lib.convert.formats.diffusers import sources as diffusers_sources

        return diffusers_sources.format_of(name), diffusers_sources.prepare(name, folder)
    if kind == "jax":
        from lib.convert.formats.jax.examples import EXAMPLES

        if rest not in EXAMPLES:
            raise InvalidValue("jax example", rest, ", ".join(EXAMPLES))
        main_file("jax", folder).write_text(json.dumps({"example": rest}))
        return "jax", [f"jax:{rest}: {EXAMPLES[rest].title}, parameters from a fixed seed."]
    from lib.convert.formats.pytorch import architectures

    if len(files) > 1:
        raise InvalidValue("files", f"{len(files)} files", "one weights file with a name")
    weights = next(iter(files.values()), None)
    if weights is not None:
        from lib.convert.intake import admit

        admit.check_weights(weights)
    return "architecture", architectures.prepare(name, weights, None, folder, allow_hub=allow_hub)


def full_name(name: str) -> str:
    """Complete a name, ``resnet18`` -> ``torchvision:resnet18``, if it is unambiguous. Other names are unchanged."""
    name = name.strip()
    if not name or ":" in name:
        return name
    matches = [full for full in _all_names() if full.partition(":")[2] == name]
    return matches[0] if len(matches) == 1 else name


def _all_names() -> list[str]:
    from lib.convert.formats.names import names

    return [full for group in names().values() for full in group]


def weights(format: str, folder: Path) -> str:
    """Return "random" for a model built here with random weights, "given" for the visitor's weights, else ""."""
    if format == "jax":
        return "random"
    if format != "architecture":
        return ""
    return str(json.loads(main_file(format, folder).read_text(encoding="utf-8")).get("weights", ""))
