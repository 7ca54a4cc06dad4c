"""A diffusers pipeline as a folder of ONNX files: one for each network, with the tokenizer and scheduler beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.convert.edges import edge


@edge(
    "diffusers",
    "diffusers-onnx",
    tool="torch.onnx.export",
    precision="fp32",
    seconds=60,
    error=2e-6,
    needs=("torch", "diffusers", "transformers", "onnx", "onnxscript"),
    note="float32; batch, height and width stay dynamic. The VAE's encoder and the safety checker are left out.",
)
def convert(progress: Callable[..., None], source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """``onnx/text_encoder/model.onnx``, ``onnx/unet/model.onnx``, ``onnx/vae_decoder/model.onnx`` and the small files."""
    from lib.convert.formats.diffusers.components import COMPANIONS, FOLDER, INDEX, OPTIONAL, components, load_components
    from lib.convert.tools.diffusers_export import export

    progress("Reading the pipeline", None)
    found, index = components(source / FOLDER)
    parts = load_components(source)
    home = target / "onnx"
    for number, part in enumerate(parts):
        progress(f"Exporting {part.name}", number / len(parts))
        (home / part.name).mkdir(parents=True)
        export(part, home / part.name / "model.onnx")
    step = max(part.multiple for part in parts)
    messages = [f"Height and width of the latents: any multiple of {step}."] if step > 1 else []
    for name in COMPANIONS:
        if name in found and (source / FOLDER / name).is_dir():
            shutil.copytree(source / FOLDER / name, home / name)
    if index:
        (home / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    if "vae" in found:
        messages.append("Of the VAE only the decoder was converted; its latents are those divided by scaling_factor.")
        (home / "vae_decoder" / "config.json").write_bytes((source / FOLDER / "vae" / "config.json").read_bytes())
    if left := [name for name in OPTIONAL if any(index.get(name) or ())]:
        messages.append(f"Not converted: {', '.join(left)}.")
    return {"messages": messages}
