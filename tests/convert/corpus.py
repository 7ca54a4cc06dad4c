"""The numeric cases of ONNX's backend corpus through ONNX -> PyTorch: ``python -m tests.convert.corpus`` writes the counts.

With a file's name as its argument it notes every case there and goes on from where it was stopped.

Every case runs in a child process, with its own inputs as sample inputs, so that a crash or a hang counts as its
failure. Two levels are counted: *module right*, an importer's ``nn.Module`` gives the corpus' expected outputs; and
*exported right*, the conversion returned a program (it agreed with onnxruntime there and then) whose saved and
reloaded form gives them too. A conversion that was returned but differs from the expected outputs is *wrong*.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lib.convert.core import arrays
from lib.convert.core.tool_messages import sanitize_message
from lib.errors import JobFailed, WorkbenchError
from lib.jobs import ROOT, Jobs, Limits
from tests.onnx_inspect.test_corpus import Case, _differs, _random, cases

INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
DTYPES = INTEGERS | {"bool", "float16", "float32", "float64", "complex64", "complex128"}
LIMITS = Limits(wall_seconds=240, memory_mb=6144)
MARKS = ("<!-- onnx-to-pytorch -->", "<!-- /onnx-to-pytorch -->")
PAGE = ROOT / "docs" / "coverage.md"


@dataclass(slots=True)
class Outcome:
    """``module`` and ``exported`` name the importer that was right, "" for none; ``wrong`` how a returned one differs."""

    kind: str
    name: str
    operators: list[str]
    random: bool
    module: str = ""
    exported: str = ""
    wrong: str = ""
    decided: list[str] = field(default_factory=list)  # operators that took values of the sample into the program
    why: str = ""
    seconds: float = 0.0


def numeric(case: Case) -> bool:
    """Whether all inputs and outputs are arrays of dtypes that numpy has."""
    return all(isinstance(v, np.ndarray) and v.dtype.name in DTYPES for v in (*case.inputs.values(), *case.outputs.values()))


def examine(progress: Any, folder: str) -> dict[str, Any]:
    """In the child: the importer's module, then the conversion itself. Outputs go into files beside the model."""
    import torch

    from lib.convert.core.torch_values import from_numpy, to_numpy
    from lib.convert.formats.onnx.files import opened
    from lib.convert.tools import onnx_importer
    from lib.convert.tools.onnx_importer.checked_export import differs

    home = Path(folder)
    given, expected = arrays.load(home / "given.npz"), arrays.load(home / "expected.npz")
    out: dict[str, Any] = {"modules": {}, "exported": "", "decided": [], "why": ""}
    names = [v.name for v in onnx.load(home / "onnx" / "model.onnx").graph.output]
    try:
        module = onnx_importer.load(opened(home / "onnx"))
        with torch.no_grad():
            found = module(*(from_numpy(v) for v in given.values()))
        got = {n: to_numpy(x) for n, x in zip(names, found, strict=True)}
        arrays.save(home / "own.npz", got)
        out["modules"]["own"] = ""
        differs(got, expected)  # the parent compares once more, by the corpus' rule
    except Exception as error:  # whatever the importer does to a case is that case's outcome
        out["modules"].setdefault("own", sanitize_message(error))
    return out | _converted(home, given)


def _converted(home: Path, given: arrays.Arrays) -> dict[str, Any]:
    """What the edge does, in its own functions; the program's outputs are those of its check, saved and reloaded."""
    from lib.convert.edges.onnx_to_pt2 import expected
    from lib.convert.formats.onnx.files import opened
    from lib.convert.tools.onnx_importer.checked_export import export_checked

    np.savez(home / "sample.npz", **given)
    (home / "pt2").mkdir()
    try:
        signature, checks = expected(home / "onnx", str(home / "sample.npz"), {})
        made = export_checked(opened(home / "onnx"), signature, checks, home / "pt2", sample=True)
    except Exception as error:  # whatever a library raises on a case is that case's outcome
        return {"why": sanitize_message(error)}
    arrays.save(home / "exported.npz", made.outputs)
    return {"exported": "own", "decided": made.decided}


def put_through(jobs: Jobs, case: Case, folder: Path) -> Outcome:
    """``folder`` is made, used and removed."""
    out = Outcome(case.kind, case.name, sorted({n.op_type for n in case.model.graph.node}), _random(case))
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_bytes(case.model.SerializeToString())
    arrays.save(folder / "given.npz", case.inputs)
    arrays.save(folder / "expected.npz", case.outputs)
    start = time.perf_counter()
    try:
        answer = ask(jobs, folder)
    except WorkbenchError as error:
        out.why = f"{type(error).__name__}: {error}"
    else:
        for name, failed in answer["modules"].items():
            if not failed and not out.module and not _unlike(case, arrays.load(folder / f"{name}.npz")):
                out.module = name
        out.why, out.decided = answer["why"], answer["decided"]
        if answer["exported"]:
            out.wrong = _unlike(case, arrays.load(folder / "exported.npz"))
            out.exported = "" if out.wrong else answer["exported"]
    out.seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return out


def ask(jobs: Jobs, folder: Path) -> dict[str, Any]:
    """Once more where the machine, short of memory, kept a child from answering."""
    try:
        return jobs.submit("tests.convert.corpus:examine", {"folder": str(folder)}, limits=LIMITS).result()
    except JobFailed as error:
        if "status 70" not in str(error):
            raise
        return jobs.submit("tests.convert.corpus:examine", {"folder": str(folder)}, limits=LIMITS).result()


def _unlike(case: Case, got: arrays.Arrays) -> str:
    return next(filter(None, (_differs(got.get(n), x, case, False) for n, x in case.outputs.items())), "")


def everything(folder: Path, some: Iterable[Case] | None = None, log: Path | None = None) -> list[Outcome]:
    """All numeric cases, or ``some``. ``log`` gets a line a case; what is in it already is not run again."""
    done = {o["name"]: Outcome(**o) for o in map(json.loads, log.read_text().splitlines())} if log and log.exists() else {}

    def one(k: int, case: Case) -> Outcome:
        if case.name not in done:
            done[case.name] = put_through(jobs, case, folder / str(k))
            if log:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(done[case.name])) + "\n")
        return done[case.name]

    jobs = Jobs(workers=2, waiting=8, preload=("tests.convert.corpus_preload",))
    try:
        with ThreadPoolExecutor(2) as pool:
            todo = [c for c in (cases() if some is None else some) if numeric(c)]
            return list(pool.map(one, range(len(todo)), todo))
    finally:
        jobs.close()


def counts(found: list[Outcome]) -> Counter[str]:
    """``cases``, ``module``, ``exported``, ``free`` (exported without holding values of the sample fast), ``wrong``."""
    out: Counter[str] = Counter(cases=len(found))
    for o in found:
        out["module"] += bool(o.module)
        out["exported"] += bool(o.exported)
        out["free"] += bool(o.exported) and not o.decided
        out["wrong"] += bool(o.wrong)
    return out


def section(found: list[Outcome]) -> str:
    """The part of ``docs/coverage.md``."""
    import torch

    who = Counter(o.exported for o in found if o.exported)
    out = [
        "## ONNX -> PyTorch",
        "",
        f"{date.today()}: the {len(found):,} cases of onnx {onnx.__version__}'s backend corpus whose inputs and outputs are "
        f"arrays of numpy's own dtypes, with torch {torch.__version__}; "
        f"{sum(o.seconds for o in found):.0f} s of work. Made by `python -m tests.convert.corpus`; "
        "`tests/convert/test_onnx_to_pt2_corpus.py` holds these numbers.",
        "",
        "*Module right*: an importer's `nn.Module` gives the corpus' expected outputs (dtype, shape, and values within the "
        "corpus' own tolerance). *Exported right*: the conversion returned a program, having agreed with onnxruntime or the "
        "reference evaluator, and the saved and reloaded program gives them too. *Of any values*: without the next kind. "
        "*Of the sample's*: an input of the case decides a shape, an axis or a branch; the program was exported for "
        "the sample's values there and refuses others. *Wrong*: returned, and different from what the corpus expects.",
        "",
        "| kind | cases | module right | exported right | of any values | of the sample's | wrong |",
        "|---" * 7 + "|",
    ]
    for kind in [*dict.fromkeys(o.kind for o in found), "not expanded", "all"]:
        some = [o for o in found if kind in (o.kind, "all") or (kind == "not expanded" and "_expanded" not in o.name)]
        c = counts(some)
        out.append(
            f"| {kind} | {c['cases']:,} | {c['module']:,} | {c['exported']:,} | {c['free']:,} | "
            f"{c['exported'] - c['free']:,} | {c['wrong']} |"
        )
    out += ["", "Programs by importer: " + ", ".join(f"{name} {n:,}" for name, n in who.most_common()) + "."]
    held: Counter[str] = Counter(op for o in found if o.exported for op in o.decided)
    out += ["", "Operators that took the sample's values: " + ", ".join(f"{n} {k}" for n, k in held.most_common()) + "."]
    missing: dict[str, list[Outcome]] = defaultdict(list)
    for o in found:
        if not o.exported:
            missing[_culprit(o)].append(o)
    out += [
        "",
        "### Not exported right, by operator",
        "",
        "| operator | cases | of them module right | reason |",
        "|---|---|---|---|",
    ]
    for operator, some in sorted(missing.items(), key=lambda item: (-len(item[1]), item[0])):
        why = (some[0].wrong and f"wrong: {some[0].wrong}") or some[0].why
        names = ", ".join(f"`{o.name}`" for o in some)
        right = sum(bool(o.module) for o in some)
        out.append(f"| {operator} | {len(some)} ({names}) | {right} | {_cell(why)} |")
    return "\n".join(out) + "\n"


def _culprit(o: Outcome) -> str:
    """The operator the case is about: the corpus names its cases after it."""
    words = o.name.removeprefix("test_").replace("_", "")
    fits = [op for op in o.operators if words.startswith(op.lower())]
    return (
        max(fits, key=len)
        if fits
        else o.operators[0]
        if len(o.operators) == 1
        else o.name.removeprefix("test_").split("_")[0]
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:240]


def write(text: str, page: Path = PAGE) -> None:
    """Replaces our part of the page only."""
    old = page.read_text() if page.exists() else "# Coverage\n"
    part = f"{MARKS[0]}\n{text}{MARKS[1]}\n"
    if MARKS[0] in old and MARKS[1] in old:
        head, rest = old.split(MARKS[0], 1)
        new = head + part + rest.split(MARKS[1], 1)[1].removeprefix("\n")
    else:
        new = old.rstrip("\n") + "\n\n" + part
    page.write_text(new)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        outcomes = everything(Path(home), log=Path(sys.argv[1]) if len(sys.argv) > 1 else None)
        write(section(outcomes))
        print(counts(outcomes))
