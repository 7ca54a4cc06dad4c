"""Exports a diffusers pipeline as a folder of ONNX files, one per network, with the tokenizer and scheduler beside them."""

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
    """Writes ``model.onnx`` to ``onnx/text_encoder``, ``onnx/unet`` and ``onnx/vae_decoder``, and copies the small files."""
    from lib.convert.formats.diffusers.components import COMPANIONS, FOLDER, INDEX, OPTIONAL, components, load_components
    from lib.convert.tools.diffusers_export import export

    progress("Reading the pipeline", None)
    networks, index = components(source / FOLDER)
    parts = load_components(source)
    out = target / "onnx"
    for number, part in enumerate(parts):
        progress(f"Exporting {part.name}", number / len(parts))
        (out / part.name).mkdir(parents=True)
        export(part, out / part.name / "model.onnx")
    step = max(part.multiple for part in parts)
    messages = [f"Height and width of the latents: any multiple of {step}."] if step > 1 else []
    for name in COMPANIONS:
        if name in networks and (source / FOLDER / name).is_dir():
            shutil.copytree(source / FOLDER / name, out / name)
    if index:
        (out / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    if "vae" in networks:
        messages.append("Only the VAE's decoder was converted; it takes latents divided by scaling_factor.")
        (out / "vae_decoder" / "config.json").write_bytes((source / FOLDER / "vae" / "config.json").read_bytes())
    if omitted := [name for name in OPTIONAL if any(index.get(name) or ())]:
        messages.append(f"Not converted: {', '.join(omitted)}.")
    return {"messages": messages}
