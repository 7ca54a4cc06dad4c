"""Exports one network of a diffusers pipeline, such as ``diffusers:tiny-scenes/unet``, as one ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import edge
from lib.errors import InvalidValue

TOKENS = 77  # the length of a prompt in Stable Diffusion


@edge(
    "diffusers-network",
    "onnx",
    tool="torch.onnx.export",
    precision="fp32",
    seconds=25,
    error=2e-6,
    needs=("torch", "diffusers", "transformers", "onnx", "onnxscript"),
    options=(Option(name="dynamic_size", title="Any image size and prompt length", kind="bool", default=False),),
    note="float32; the batch stays dynamic, the image size is the one used in training.",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Writes ``model.onnx``. Raises InvalidValue for a whole pipeline, which has its own target."""
    from lib.convert.formats.diffusers.components import FOLDER, components, load_components
    from lib.convert.tools.diffusers_export import export

    networks, index = components(source / FOLDER)
    if index or len(networks) != 1:
        raise InvalidValue(
            "target", "onnx", "diffusers-onnx for a whole pipeline; onnx for one network of it, such as .../unet"
        )
    progress("Reading the network", None)
    (part,) = load_components(source)
    dynamic = {d for v in part.inputs for d in v.shape if isinstance(d, str)}
    usual = {"height": part.usual, "width": part.usual, "tokens": TOKENS}
    fixed = {} if options["dynamic_size"] else {name: size for name, size in usual.items() if name in dynamic}
    progress(f"Exporting {part.name}", 0.2)
    export(part, target / "model.onnx", fixed)
    messages = []
    if fixed:
        messages.append(
            "Fixed: " + ", ".join(f"{name} = {size}" for name, size in fixed.items()) + "; the batch is dynamic."
        )
    return {
        "messages": messages,
        "fixed": fixed,
        "inputs": {f"{part.name}.{v.name}": v.name for v in part.inputs},
        "outputs": {f"{part.name}.{v.name}": v.name for v in part.outputs},
    }
