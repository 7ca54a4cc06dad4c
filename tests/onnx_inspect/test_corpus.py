"""ONNX's whole backend corpus, as shipped in the onnx package, through ``inspect`` and ``execute`` in real child processes.

Every case lands in exactly one group for each question, with a reason unless it is right; nothing is skipped.
``python -m tests.onnx_inspect.test_corpus > docs/onnx_corpus.md`` runs them all and writes the counts down. The test runs
every third of the 1,884 cases of one node, and all the others.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, TypeProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from lib.errors import JobFailed, WorkbenchError
from lib.jobs import Jobs, Limits

COUNTS = {"node": 1884, "simple": 23, "pytorch-converted": 82, "pytorch-operator": 35, "light": 9}  # onnx 1.23.2
LIMITS = Limits(wall_seconds=240)  # the slowest, a whole inception_v2 in numpy, takes 30 s alone

RIGHT, RANDOM, REFUSED, UNCARRIED, WRONG = "right", "random", "refused", "not carried", "wrong"
VALID, STATED = "valid", "invalid, and it says why"
# Measured; a newer onnxruntime or a machine with more locales may only do better. Without "light" for the reference,
# whose 60 seconds a busy machine may need for a whole network in numpy.
FLOORS = {"inspect": 790, "onnxruntime": 682, "reference": 759}  # of every third of one node, and all others
EVERY = 3

REFUSALS = (
    ("it has no kernel for this operator, opset or dtype", "Could not find an implementation|Failed to find kernel"),
    ("it does not know this operator of a preview domain", "is not a registered function/op"),
    ("this machine lacks the locale en_US.UTF-8", "Failed to construct locale"),
    ("it has no batch-first recurrent operators (layout 1)", "Batchwise recurrent operations"),
    ("its ConvInteger has no zero point per channel", "ConvInteger.*Non per-tensor quantization"),
    ("its Attention takes no mask with lengths of padded keys", "ComputeOutputShapeForAttention.*attn_mask == null"),
    ("its ReduceMax takes no empty booleans", "ReduceMax is not defined for empty set"),
    ("it has no implementation of this operator", "it has no operator"),
    ("it runs Scan of opset 8 without its batch axis", "x and y have different dtype: <class 'NoneType'>"),
    ("it is stopped after 60 s", "stopped after 60 s"),
)
RANDOM_OPERATORS = {"Bernoulli", "RandomNormalLike", "RandomUniformLike"}
# Different from what the corpus expects, and why we let it be: none of it is made here.
NO_MASK = "onnxruntime leaves the causal mask out of the scores that Attention can return"
RESIZE = "onnxruntime's own list of its test failures has it: results of Resize differ"
ZERO = "float32 rounding, below 4e-7 of the largest value, where the corpus expects 0 within 1e-7"
HALF = "float16 rounding: one value of 192 is one step away"
STACK = "Loop in the reference evaluator makes a column of scalars that were to be stacked to a vector"
KNOWN: dict[str, dict[str, str]] = {
    "onnxruntime": {
        "test_attention_4d_causal_fp16": HALF,
        "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal": NO_MASK,
        "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal": NO_MASK,
        "test_dft": ZERO,
        "test_dft_axis": ZERO,
        "test_dft_axis_opset19": ZERO,
        "test_dft_inverse": ZERO,
        "test_dft_inverse_opset19": ZERO,
        "test_dft_irfft": ZERO,
        "test_dft_irfft_opset19": ZERO,
        "test_dft_opset19": ZERO,
        "test_dft_rfft": ZERO,
        "test_dft_rfft_opset19": ZERO,
        "test_maxunpool_export_with_output_shape": "onnxruntime's own list of its test failures has it: result mismatch",
        "test_resize_downsample_scales_cubic_align_corners": RESIZE,
        "test_resize_downsample_scales_linear_align_corners": RESIZE,
        "test_stft": ZERO,
        "test_stft_with_window": ZERO,
    },
    "reference": {
        "test_range_bfloat16_type_positive_delta_expanded": STACK,
        "test_range_float16_type_positive_delta_expanded": STACK,
        "test_range_float_type_positive_delta_expanded": STACK,
        "test_range_int32_type_negative_delta_expanded": STACK,
    },
}
ROUNDING = {name for name, why in KNOWN["onnxruntime"].items() if why in (ZERO, HALF)}  # another processor may round right


@dataclass(slots=True)
class Case:
    kind: str
    name: str
    model: ModelProto
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    rtol: float
    atol: float


@dataclass(slots=True)
class Outcome:
    """Group and reason for each question: ``inspect``, ``onnxruntime``, ``reference``."""

    kind: str
    name: str
    group: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def set(self, question: str, group: str, why: str = "") -> None:
        assert question not in self.group
        self.group[question], self.why[question] = group, why


def cases(every: int = 1) -> Iterator[Case]:
    """All of them, the slow ones first; of those of one node every n-th, and those that are known to differ."""
    for case in load_model_tests(kind="real"):  # that kind's data.json files name the models of "light"
        path = Path(onnx.__file__).parent.parent / str(case.url)
        model = onnx.load(path)
        inputs = [Runner.generate_dummy_data(v) for v in _fed(model)]
        outputs = [path.with_name(f"{path.stem}_output_{k}.pb") for k in range(len(model.graph.output))]
        values = [_read(p, v.type) for p, v in zip(outputs, model.graph.output, strict=True)]
        yield _case("light", case, model, inputs, values)
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for case in sorted(load_model_tests(kind=kind), key=lambda c: c.name):
            folder = Path(str(case.model_dir))
            model = onnx.load(folder / "model.onnx")
            (data,) = folder.glob("test_data_set_*")
            inputs = [_read(data / f"input_{k}.pb", v.type) for k, v in enumerate(_fed(model))]
            outputs = [_read(data / f"output_{k}.pb", v.type) for k, v in enumerate(model.graph.output)]
            yield _case(kind, case, model, inputs, outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the generators overflow and divide by zero on purpose
        found = load_model_tests(kind="node")
    for k, case in enumerate(found):
        if k % every == 0 or any(case.name in names for names in KNOWN.values()):
            ((inputs, outputs),) = case.data_sets
            yield _case("node", case, case.model, inputs, outputs)


def _case(kind: str, case: Any, model: ModelProto, inputs: Any, outputs: Any) -> Case:
    given = {v.name: _value(x) for v, x in zip(_fed(model), inputs, strict=True)}
    expected = {v.name: _value(x) for v, x in zip(model.graph.output, outputs, strict=True)}
    return Case(kind, case.name, model, given, expected, case.rtol, case.atol)


def _fed(model: ModelProto) -> list[onnx.ValueInfoProto]:
    held = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in held]


def _value(value: Any) -> Any:
    """An array, or what is none: a list, None."""
    value = numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
    return np.asarray(value) if isinstance(value, np.generic) else value


def _read(path: Path, kind: TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(TensorProto.FromString(data))


def put_through(jobs: Jobs, case: Case, folder: Path) -> Outcome:
    """``folder`` is made, used and removed."""
    folder.mkdir()
    out, path = Outcome(case.kind, case.name), folder / "model.onnx"
    path.write_bytes(case.model.SerializeToString())
    files = {"model": str(path), "externals": {}, "symbols": {}}
    try:
        report = ask(jobs, "inspect", files | {"name": "model.onnx"})
        out.set("inspect", *_inspected(report))
    except WorkbenchError as error:
        out.set("inspect", WRONG, f"{type(error).__name__}: {error}")
    if not all(isinstance(x, np.ndarray) for x in case.inputs.values()):
        for runtime in ("onnxruntime", "reference"):
            out.set(runtime, UNCARRIED, "a sequence or optional input")
    else:
        np.savez(folder / "given.npz", **{n: _plain(x) for n, x in case.inputs.items()})
        given = {"inputs": str(folder / "given.npz"), "seed": 0, "runs": 1, "out": str(folder)}
        try:
            result = ask(jobs, "execute", files | given)
            out.set("onnxruntime", *_ran(case, result["onnxruntime"], folder / "outputs.npz"))
            out.set("reference", *_ran(case, result["reference"], folder / "reference.npz"))
        except WorkbenchError as error:
            for runtime in ("onnxruntime", "reference"):
                out.set(runtime, WRONG, f"{type(error).__name__}: {error}")
    shutil.rmtree(folder)
    return out


def ask(jobs: Jobs, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Once more where the machine, short of memory, kept a child from answering (once in 4,000 on CI)."""
    try:
        return jobs.submit(f"lib.onnx_inspect.tasks:{task}", arguments, limits=LIMITS).result()
    except JobFailed as error:
        if "status 70" not in str(error):
            raise
        return jobs.submit(f"lib.onnx_inspect.tasks:{task}", arguments, limits=LIMITS).result()


def _inspected(report: dict[str, Any]) -> tuple[str, str]:
    errors = [p["message"] for p in report["problems"] if p["severity"] == "error"]
    if report["macs"] < 0 or any((n["macs"] or 0) < 0 for n in report["nodes"]):
        return WRONG, "negative MACs"
    if report["valid"] is bool(errors):
        return WRONG, f"valid is {report['valid']} with {len(errors)} errors"
    return (VALID, "") if report["valid"] else (STATED, errors[0])


def _ran(case: Case, answer: dict[str, Any], path: Path) -> tuple[str, str]:
    if error := answer.get("error"):
        reason = next((reason for reason, pattern in REFUSALS if re.search(pattern, error)), "")
        return (REFUSED, reason) if reason else (WRONG, error)
    if not all(isinstance(x, np.ndarray) for x in case.outputs.values()):
        return UNCARRIED, "a sequence or optional output"
    with np.load(path) as found:
        got = {name: found[name] for name in found.files}
    random = _random(case)
    why = [_differs(got.get(n), x, case, random) for n, x in case.outputs.items()]
    if any(why):
        return WRONG, next(filter(None, why))
    return (RANDOM, "a random operator: dtype and shape are right") if random else (RIGHT, "")


def _random(case: Case) -> bool:
    """Whether two runs may differ: a random operator, or a Dropout that trains at a ratio over 0."""
    for node in case.model.graph.node:
        _, ratio, training = [*node.input, "", "", ""][:3]
        drops = node.op_type == "Dropout" and case.inputs.get(training, False) and case.inputs.get(ratio, 0.5)
        if drops or node.op_type in RANDOM_OPERATORS:
            return True
    return False


def _differs(got: np.ndarray | None, expected: np.ndarray, case: Case, random: bool) -> str:
    """How, in words; "" when equal by the corpus' own comparison. bfloat16, float8 and 4-bit arrive as plain bytes."""
    if got is None:
        return "an output is missing"
    if expected.dtype.isbuiltin == 2 and got.dtype.kind == "V" and got.itemsize == expected.itemsize:
        got = got.view(expected.dtype)
    if expected.dtype == object:
        got = got.astype(object) if got.dtype.kind == "U" else got
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        return f"{got.dtype} {list(got.shape)} for {expected.dtype} {list(expected.shape)}"
    if random:
        return ""
    rtol = max(case.rtol, 2**-6) if expected.dtype.name == "bfloat16" else case.rtol  # as Runner has it
    if expected.dtype.isbuiltin == 2:
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    try:
        Runner.assert_similar_outputs([expected], [got], rtol, case.atol)
    except AssertionError as error:
        return " ".join(str(error).split())[:200]
    return ""


def _plain(value: np.ndarray) -> np.ndarray:
    """As a visitor can save it: numpy's files know neither object arrays (unpickled) nor the dtypes of ml_dtypes."""
    if value.dtype.isbuiltin == 2:
        return np.ascontiguousarray(value).view(np.dtype(("V", value.itemsize))).reshape(value.shape)
    return value.astype(str) if value.dtype == object else value


def run_all(folder: Path, every: int = 1) -> list[Outcome]:
    jobs = Jobs(workers=2, waiting=8, preload=("lib.onnx_inspect.tasks",))
    try:
        with ThreadPoolExecutor(2) as pool:
            todo = enumerate(cases(every))
            return list(pool.map(lambda k_case: put_through(jobs, k_case[1], folder / str(k_case[0])), todo))
    finally:
        jobs.close()


def groups(found: list[Outcome], question: str) -> Counter[str]:
    return Counter(o.group[question] for o in found)


def report(found: list[Outcome], seconds: float) -> str:
    """``docs/onnx_corpus.md``."""
    out = [
        "# The ONNX backend corpus, through the inspector",
        "",
        f"{date.today()}: the {len(found):,} cases that onnx {onnx.__version__} ships, each inspected and run on its own "
        f"inputs in a child process, with onnxruntime {onnxruntime.__version__} and with onnx's ReferenceEvaluator, "
        "a few of its operators of older opsets mended (`lib/onnx_model/reference_patches.py`). "
        f"{seconds:.0f} s with two workers on {os.cpu_count()} cores.",
        "",
        "*Right* means equal to the case's expected outputs in dtype, shape and, within the corpus' own tolerance, values. "
        "Made by `python -m tests.onnx_inspect.test_corpus`; `tests/onnx_inspect/test_corpus.py` holds these numbers.",
    ]
    for question in ("inspect", "onnxruntime", "reference"):
        columns = [g for g in (VALID, STATED, RIGHT, RANDOM, REFUSED, UNCARRIED, WRONG) if groups(found, question)[g]]
        out += ["", f"## {question}", "", f"| kind | cases | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
        for kind in [*COUNTS, "all"]:
            some = [o for o in found if kind in (o.kind, "all")]
            counts = groups(some, question)
            out.append(f"| {kind} | {len(some):,} | {' | '.join(f'{counts[c]:,}' for c in columns)} |")
        told: dict[tuple[str, str], list[str]] = {}
        for o in found:
            if o.group[question] not in (VALID, RIGHT):
                why = KNOWN.get(question, {}).get(o.name, o.why[question])
                told.setdefault((o.group[question], why), []).append(o.name)
        out += [""] * bool(told)
        for (group, why), names in sorted(told.items(), key=lambda item: -len(item[1])):
            listed = f" (`{'`, `'.join(sorted(names))}`)" if group == WRONG else ""
            out.append(f"- {len(names)} × {group}: {why}{listed}")
    return "\n".join(out) + "\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    return run_all(tmp_path_factory.mktemp("corpus"), EVERY)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestCorpus:
    def test_every_case_is_there(self, found: list[Outcome]) -> None:
        counted = Counter(o.kind for o in found)
        known = len({name for names in KNOWN.values() for name in names})
        assert counted | {"node": 0} == COUNTS | {"node": 0}
        assert COUNTS["node"] / EVERY <= counted["node"] <= COUNTS["node"] / EVERY + 1 + known
        assert all(set(o.group) == {"inspect", "onnxruntime", "reference"} for o in found)

    def test_inspection_says_valid_or_why_not(self, found: list[Outcome]) -> None:
        assert [(o.name, o.why["inspect"]) for o in found if o.group["inspect"] == WRONG] == []
        assert groups(found, "inspect")[VALID] >= FLOORS["inspect"]

    @pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
    def test_runs_give_the_expected_outputs(self, found: list[Outcome], runtime: str) -> None:
        wrong = {o.name: o.why[runtime] for o in found if o.group[runtime] == WRONG}
        assert {name: why for name, why in wrong.items() if name not in KNOWN[runtime]} == {}
        assert set(KNOWN[runtime]) - set(wrong) <= ROUNDING, "better than known: take these off the list"
        counted = [o for o in found if runtime == "onnxruntime" or o.kind != "light"]
        assert groups(counted, runtime)[RIGHT] >= FLOORS[runtime]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        print(report(run_all(Path(home)), time.perf_counter() - start), end="")
