"""A PyTorch exported program (``.pt2``) to ExecuTorch (``.pte``), for XNNPACK or the portable kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge

DELEGATES = ("xnnpack", "none")
GLUE = ("executorch_prim::", "aten::sym_size")  # of sizes, not of values


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
            choices=DELEGATES,
        ),
        Option(name="dynamic", title="Keep dynamic dimensions, up to a bound", kind="bool", default=True),
        Option(name="largest", title="Largest sizes, as in batch=16, height=640", kind="text", default=""),
    ),
    note="For ExecuTorch 1.2 and later. Memory is planned for the largest size of every dynamic dimension.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.tools import executorch_export as tool
    from lib.model_inputs import sizes

    progress("Opening the program", 0.1)
    program, signature = pt2_files.load(source)
    asked = sizes.parse(options.get("largest", ""))
    sizes.check(asked, signature)
    largest = tool.bounds(signature, options.get("case_sizes") or {}, asked) if options["dynamic"] else {}
    for symbol, most in pt2_files.limits_of(program, signature).items():
        largest |= {symbol: min(most, largest[symbol])} if symbol in largest else {}
    progress("Exporting with bounds", 0.2)
    exported = tool.narrowed(program, signature, largest, dict(options.get("sizes") or {}))
    progress("Lowering to ExecuTorch", 0.4)
    made = tool.write(exported.program, _fixed(signature, exported.fixed), target, options["delegate"])
    kept = ", ".join(f"{symbol} = {size}" for symbol, size in made["largest"].items())
    said = [f"Memory is planned for sizes up to {kept}; larger ones are refused (option largest)."] if kept else []
    left = sorted({name for name in made["left"] if not name.startswith(GLUE)})
    if options["delegate"] != "none" and left:
        said.append(f"Not in XNNPACK, so run by portable kernels: {', '.join(left)[:300]}.")
    return {"messages": exported.messages + said, "fixed": exported.fixed}


def _fixed(signature: Any, fixed: dict[str, int]) -> Any:
    """The signature with those sizes in the place of their dimensions."""
    from dataclasses import replace

    def values(some: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(replace(v, shape=tuple(fixed.get(d, d) if isinstance(d, str) else d for d in v.shape)) for v in some)

    return replace(signature, inputs=values(signature.inputs), outputs=values(signature.outputs))
