"""Converts an exported PyTorch program (``.pt2``) to ExecuTorch (``.pte``), for XNNPACK or the portable kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge


@edge(
    "pt2",
    "executorch",
    tool="executorch",
    precision="fp32",
    seconds=30,
    error=2e-6,
    environment="executorch",
    options=(
        Option(
            name="delegate",
            title="Delegate (none: portable kernels only, many times slower)",
            kind="choice",
            default="xnnpack",
            choices=("xnnpack", "none"),
        ),
        Option(name="dynamic", title="Keep dynamic dimensions, up to a bound", kind="bool", default=True),
        Option(name="largest", title="Largest sizes, such as batch=16, height=640", kind="text", default=""),
    ),
    note="For ExecuTorch 1.2 and later. Memory is planned for the largest size of every dynamic dimension.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.tools import executorch_export

    progress("Opening the program", 0.1)
    program, signature = pt2_files.load(source)
    progress("Exporting with bounds", 0.2)
    bounded = executorch_export.bounded(program, signature, options, pt2_files.limits_of(program, signature))
    progress("Lowering to ExecuTorch", 0.4)
    return {"messages": executorch_export.write(bounded, target, options["delegate"]), "fixed": bounded.fixed}
