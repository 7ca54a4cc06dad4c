"""A PyTorch exported program to ExecuTorch in eight bits: weights and activations as XNNPACK computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge
from lib.convert.formats.executorch.options import DYNAMIC, NOTE


@edge(
    "pt2",
    "executorch-int8",
    tool="executorch, torchao (PT2E)",
    precision="int8",
    seconds=60,
    error=5e-2,
    environment="executorch",
    options=(
        Option(
            name="random_samples", title="Made-up inputs where no samples are given", kind="int", default=64, low=1, high=512
        ),
        Option(name="per_channel", title="One scale per channel (more exact)", kind="bool", default=True),
        *DYNAMIC,
    ),
    note=f"Static int8. Send samples: ranges from made-up inputs need not fit real ones. {NOTE}",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidFile for bad samples and for a model without anything to quantise, JobFailed where a tool refuses."""
    from lib.convert.formats.pt2 import files as pt2_files
    from lib.convert.tools import calibration, executorch_export

    progress("Opening the program", 0.1)
    program, signature = pt2_files.load(source)
    samples = calibration.gathered(signature, options)
    progress("Exporting with bounds", 0.15)
    given = executorch_export.bounded(program, signature, options, pt2_files.limits_of(program, signature))

    def measuring(share: float) -> None:
        progress("Measuring ranges", 0.25 + 0.25 * share)

    rounded = executorch_export.quantised(given, samples.rows, options, measuring)
    progress("Lowering to ExecuTorch", 0.5)
    said = executorch_export.write(rounded, target, "xnnpack")
    return {"messages": [samples.said, *samples.messages, *said], "fixed": rounded.fixed, "chosen": {"method": "histogram"}}
