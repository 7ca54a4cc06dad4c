"""A Stable Diffusion single file, under the names of ``diffusers/runner.py``.

Read by diffusers' own single-file loader and not by ``ldm_names``: a mistake in our names would otherwise undo
itself on the way back, and the proof would see two equal models.
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
    """float32 on the CPU, whatever dtype the weights are stored in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(make_components(*modules(folder / FILE)))


def modules(path: Path) -> tuple[dict[str, Any], bool]:
    """Every network of the file by component, as diffusers reads it, and whether it is an SDXL. Raises InvalidFile."""
    contents = read_contents(path)
    with tempfile.TemporaryDirectory() as home:
        contents.write(Path(home))
        return _load(path, contents, home), contents.xl


def read_contents(path: Path) -> Contents:
    """What the file holds, from its header. Raises InvalidFile."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidFile(f"The single file is no safetensors file ({type(error).__name__}).") from None
    return describe(metadata, shapes)


def _load(path: Path, contents: Contents, home: str) -> dict[str, Any]:
    import diffusers
    import torch
    from diffusers.utils import logging

    logging.disable_progress_bar()
    kind = getattr(diffusers, contents.index["_class_name"])
    absent = {name: None for name in (*COMPANIONS, *OPTIONAL) if name in contents.index}
    for name in contents.networks():
        contents.config(name)  # refuses what would not be converted either
    try:
        pipeline = kind.from_single_file(str(path), config=home, local_files_only=True, torch_dtype=torch.float32, **absent)
    except Exception as error:  # the loader raises whatever its many helpers raise
        raise InvalidFile(f"diffusers does not read this single file ({type(error).__name__}).") from error
    found = {name: getattr(pipeline, name) for name in contents.networks()}
    for name, module in found.items():
        if left := [key for key, p in module.named_parameters() if p.is_meta]:
            raise InvalidFile(f"diffusers finds no weights for {len(left)} tensors of the {name}, first {left[0][:80]!r}.")
    return {name: ready_to_run(module) for name, module in found.items()}
