"""Unpacks a Stable Diffusion single file to a diffusers folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.edges import edge


@edge(
    "sd-single-file",
    "diffusers",
    tool="own mapping of names",
    precision="exact",
    seconds=5,
    error=0.0,
    needs=("torch", "diffusers", "transformers", "accelerate", "safetensors"),
    note="Files made here contain their configuration; others are recognised by shape, if Stable Diffusion 1.x.",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises JobFailed if the folder, read back, differs from the file."""
    from lib.convert.formats.diffusers.components import FOLDER
    from lib.convert.formats.single_file import same_weights as diffusers_check
    from lib.convert.formats.single_file.files import unpack
    from lib.convert.formats.single_file.runner import FILE, read_contents
    from lib.convert.formats.weights.runner import read_safetensors

    progress("Reading the file", None)
    contents = read_contents(source / FILE)
    tensors, _ = read_safetensors(source / FILE)
    progress("Writing the folder", 0.5)
    messages = unpack(tensors, contents, target / FOLDER)
    del tensors
    progress("Comparing every tensor", 0.8)
    diffusers_check.same(diffusers_check.of_single_file(source / FILE), diffusers_check.of_folder(target / FOLDER))
    return {"messages": messages}
