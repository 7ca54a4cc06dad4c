"""Packs a diffusers pipeline into one file in the original layout of Stable Diffusion 1, 2 or XL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import edge


@edge(
    "diffusers",
    "sd-single-file",
    tool="own mapping of names",
    precision="exact",
    seconds=5,
    error=0.0,
    needs=("torch", "diffusers", "transformers", "accelerate", "safetensors"),
    options=(
        Option(
            name="dtype", title="Weights", kind="choice", default="as stored", choices=("as stored", "float32", "float16")
        ),
    ),
    note="Configurations and tokenizer go into the file's metadata, so the conversion back is exact.",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Writes ``model.safetensors``. Returns the ``precision`` fp16 if float16 rounded a weight.

    Raises JobFailed if the file, read back, differs from the pipeline.
    """
    import torch
    from safetensors.torch import save_file

    from lib.convert.formats.diffusers.components import FOLDER
    from lib.convert.formats.single_file import same_weights as diffusers_check
    from lib.convert.formats.single_file.files import pack

    progress("Reading the pipeline", None)
    tensors, metadata, messages, lossy = pack(source / FOLDER, options["dtype"])
    progress("Writing the file", 0.7)
    save_file(tensors, target / "model.safetensors", metadata=metadata)
    del tensors
    progress("Comparing every tensor", 0.8)
    rounded = torch.float16 if lossy else None
    diffusers_check.same(
        diffusers_check.of_folder(source / FOLDER, rounded), diffusers_check.of_single_file(target / "model.safetensors")
    )
    if not lossy:
        return {"messages": messages}
    return {"messages": [*messages, "float16 rounded the weights: the file is close, not equal."], "precision": "fp16"}
