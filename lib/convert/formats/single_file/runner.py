"""Runs a Stable Diffusion single file, with the value names of ``diffusers/runner.py``.

Loads it with diffusers' own single-file loader, not with ``tensor_names.py``: otherwise a mistake in our name mapping
would cancel out when reading back, and the proof would compare two equal models.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lib.convert.formats.diffusers.components import COMPANIONS, OPTIONAL, make_components, ready_to_run
from lib.convert.formats.diffusers.runner import PartsRunner
from lib.convert.formats.single_file.files import Contents, describe
from lib.errors import InvalidFile

FILE = "model.safetensors"


class SingleFileRunner(PartsRunner):
    """Runs in float32 on the CPU, whatever the dtype of the stored weights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(make_components(*modules(folder / FILE)))


def modules(path: Path) -> tuple[dict[str, Any], bool]:
    """Returns the file's networks by component, as diffusers loads them, and whether it is SDXL. Raises InvalidFile."""
    contents = read_contents(path)
    with tempfile.TemporaryDirectory() as home:
        contents.write(Path(home))
        return _load(path, contents, home), contents.xl


def read_contents(path: Path) -> Contents:
    """Reads the file's contents from its header. Raises InvalidFile."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidFile(f"The single file is not a safetensors file ({type(error).__name__}).") from None
    return describe(metadata, shapes)


def _load(path: Path, contents: Contents, home: str) -> dict[str, Any]:
    import diffusers
    import torch
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline_class = getattr(diffusers, contents.index["_class_name"])
    absent_components = {name: None for name in (*COMPANIONS, *OPTIONAL) if name in contents.index}
    for name in contents.networks():
        contents.config(name)  # raises for networks that are not converted either
    try:
        pipeline = pipeline_class.from_single_file(
            str(path), config=home, local_files_only=True, torch_dtype=torch.float32, **absent_components
        )
    except Exception as error:  # the loader's helpers raise many kinds of errors
        raise InvalidFile(f"diffusers cannot read this single file ({type(error).__name__}).") from error
    networks = {name: getattr(pipeline, name) for name in contents.networks()}
    for name, module in networks.items():
        if unfilled := [key for key, p in module.named_parameters() if p.is_meta]:
            raise InvalidFile(
                f"diffusers finds no weights for {len(unfilled)} tensors of the {name}, first {unfilled[0][:80]!r}."
            )
    return {name: ready_to_run(module) for name, module in networks.items()}
