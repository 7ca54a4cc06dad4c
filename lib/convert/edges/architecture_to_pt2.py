"""Exports a PyTorch architecture as a program (``.pt2``) that keeps the names of its inputs and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import edge


@edge(
    "architecture",
    "pt2",
    tool="torch.export",
    precision="fp32",
    seconds=8,
    error=1e-6,
    needs=("torch",),
    options=(Option(name="dynamic", title="Keep dynamic dimensions (where supported)", kind="bool", default=True),),
    note="A program for torch.export.load, without the model's Python code. Detection models cannot be exported.",
)
def convert(progress: Any, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.formats.pytorch import architectures
    from lib.convert.tools import torch_export

    progress("Building the model", 0.1)
    flat, signature = architectures.load(source)
    progress("Exporting", 0.3)
    exported = torch_export.export(flat, signature, dynamic=options["dynamic"])
    pt2_files.save(exported.program, target, signature)
    limits = pt2_files.limits_of(exported.program, signature)
    messages = exported.messages + [f"The program accepts {s} up to {n}." for s, n in limits.items()]
    return {"messages": messages, "fixed": exported.fixed, "limits": limits}
