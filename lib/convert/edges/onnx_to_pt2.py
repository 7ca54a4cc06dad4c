"""Converts ONNX to an exported PyTorch program with our own importer, and checks it against onnxruntime at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.convert.edges import Progress, edge
from lib.errors import InvalidFile, JobFailed

MORE = 1  # resized cases; one is enough to detect a hard-coded size
REFERENCE_SECONDS = 60


@edge(
    "onnx",
    "pt2",
    tool="own importer",
    precision="fp32",
    seconds=15,
    error=1e-6,
    needs=("torch",),
    options=(
        Option(
            name="sample", title="Sample inputs (.npz by input name), for models whose shapes depend on values", kind="file"
        ),
    ),
    note="The saved program is run and compared with onnxruntime before the proof begins.",
)
def convert(progress: Progress, source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Raises JobFailed with the reason if the program disagrees with onnxruntime."""
    from lib.convert.formats.onnx.files import opened
    from lib.convert.tools.onnx_importer.checked_export import export_checked

    progress("Running the ONNX model", 0.05)
    model = opened(source)
    signature, checks = expected(source, options.get("sample"), options.get("sizes") or {})
    progress("Importing and exporting", 0.2)
    report = export_checked(model, signature, checks, target, sample=bool(options.get("sample")))
    messages = []
    if report.decided:
        messages.append(
            f"Values of the sample inputs determine shapes in {', '.join(report.decided)}: the program refuses other "
            "values there."
        )
    if report.fixed:
        messages.append("Fixed sizes: " + ", ".join(f"{s} = {n}" for s, n in report.fixed.items()) + ".")
    messages += [f"The program accepts {s} up to {n}." for s, n in report.limits.items()]
    return {"messages": messages, "fixed": report.fixed, "limits": report.limits}


def expected(source: Path, sample: str | None, sizes: dict[str, int]) -> tuple[Any, list[Any]]:
    """Returns the signature, and generated (or sample) inputs with the ONNX model's outputs for them.

    ``sizes``: of dynamic dimensions, tried if the model refuses the default ones, which differ from one another. Raises
    InvalidFile for inputs of unknown rank or an unfit sample, JobFailed if the model refuses every input.
    """
    from lib.convert.formats.onnx.runner import OnnxRunner
    from lib.convert.proof import cases as proof_cases
    from lib.convert.tools.onnx_importer.checked_export import Checked
    from lib.time_limit import TooSlow, at_most

    runner = OnnxRunner(source)
    signature = runner.signature()
    if any(str(d).endswith("[...]") for v in signature.inputs for d in v.shape):
        raise InvalidFile("The model does not give the rank of its inputs. Export it again with shapes.")
    tries = (
        [sampled(signature, Path(sample))]
        if sample
        else [proof_cases.cases(signature), proof_cases.cases(signature, fixed=sizes)]
    )
    checks, reason = [], ""
    for cases in tries[: 1 + bool(sizes)]:
        kinds = [c for c in cases if c.kind == "ordinary"] + [c for c in cases if c.kind == "resized"][:MORE]
        for case in kinds:
            try:
                outputs = runner.run(case.arrays)
            except JobFailed as refused:
                try:
                    with at_most(REFERENCE_SECONDS):
                        outputs = runner.run_reference(case.arrays)
                except (JobFailed, TooSlow):
                    reason = reason or refused.message
                    continue
            checks.append(Checked(case, outputs))
        if checks:
            break
    runner.close()
    if not checks:
        raise JobFailed(f"The ONNX model accepts none of the made-up inputs, so nothing can be checked: {reason}")
    return signature, checks


def sampled(signature: Any, path: Path) -> list[Any]:
    """Returns the sample inputs, and two copies with the values of their float arrays shuffled.

    Integers stay, since they may be shapes, and so do short vectors, which may be scales. Raises InvalidFile for
    missing inputs, other dtypes or other ranks.
    """
    import numpy as np

    from lib.convert.proof.cases import Case
    from lib.model_inputs.arrays import npz

    stored = npz(path)
    if missing := [v.name for v in signature.inputs if v.name not in stored]:
        raise InvalidFile(f"The sample inputs lack {', '.join(missing)[:200]}.")
    arrays = {v.name: stored[v.name] for v in signature.inputs}
    for value in signature.inputs:
        if arrays[value.name].dtype.name != value.dtype or arrays[value.name].ndim != len(value.shape):
            raise InvalidFile(
                f"The sample input {value.name[:80]!r} does not match: {value.dtype} {list(value.shape)} is needed."
            )
    sizes = {
        d: n for v in signature.inputs for d, n in zip(v.shape, arrays[v.name].shape, strict=True) if isinstance(d, str)
    }

    def redrawn(a: Any) -> bool:
        return a.dtype.kind == "f" and (a.ndim > 1 or a.size > 16)

    out = [Case("ordinary", 0, sizes, arrays)]
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        drawn = {n: rng.permutation(a.reshape(-1)).reshape(a.shape) if redrawn(a) else a for n, a in arrays.items()}
        out.append(Case("ordinary", seed, sizes, drawn))
    return out
