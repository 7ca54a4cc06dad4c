"""ONNX -> ONNX with less in it: constants folded, batch norms fused, dead and doubled nodes removed (onnxslim)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.edges import Progress, edge


@edge(
    "onnx",
    "onnx-slim",
    tool="onnxslim.slim",
    precision="fp32",
    seconds=2,
    error=2e-6,
    needs=("onnxslim",),
    note="Folds constants and fuses layers; names of inputs and outputs and dynamic dimensions stay.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for a bad source, JobFailed where onnxslim refuses or changes what the model takes and gives."""
    import onnxslim

    from lib.convert import onnx_files
    from lib.errors import JobFailed
    from lib.onnx_model.words import clean

    progress("Reading the model", 0.1)
    model = onnx_files.inlined(onnx_files.read(source))
    before, face = onnx_files.operators(model), _face(model)
    progress("Slimming", 0.3)
    try:
        slim = onnxslim.slim(model)
    except (Exception, SystemExit) as error:  # whatever a pass of it trips over
        raise JobFailed(f"onnxslim refused: {clean(str(error)) or type(error).__name__}") from None
    if _face(slim) != face:
        raise JobFailed("onnxslim changed the names, dtypes or dynamic dimensions of inputs or outputs; not used.")
    progress("Saving", 0.9)
    onnx_files.write(slim, target)
    after = onnx_files.operators(slim)
    gone = [f"{before[k] - after.get(k, 0)} {k}" for k in sorted(before) if before[k] > after.get(k, 0)]
    was, now = sum(before.values()), sum(after.values())
    return {"messages": [f"{was} nodes became {now}" + (f"; fewer: {', '.join(gone[:12])}." if gone else ".")]}


def _face(model: Any) -> list[tuple[Any, ...]]:
    """What the model takes and gives. Initializers listed as inputs are constants; whether they are listed is free."""
    held = {t.name for t in model.graph.initializer}
    return [
        (v.name, v.type.tensor_type.elem_type, *((d.dim_value, d.dim_param) for d in v.type.tensor_type.shape.dim))
        for v in (*model.graph.input, *model.graph.output)
        if v.name not in held
    ]
