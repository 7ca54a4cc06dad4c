"""What runs in a child process, in the environment that a format or an edge needs: JSON in and out (``lib/jobs.py``).

One job each: ``take`` (an upload or a name becomes an artifact), ``look`` (its signature), ``apply`` (one edge),
``ask`` (the source's answers to made inputs), ``answer`` (another artifact's answers to the same), ``judge``.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert import arrays, feeds, timing
from lib.convert.formats import find
from lib.convert.pairing import changes, pair
from lib.convert.runners import Doubtful, Runner, load
from lib.errors import JobFailed, WorkbenchError
from lib.model_inputs.signature import Signature
from lib.model_inputs.signature import dtype as numpy_dtype
from lib.onnx_model.words import clean
from lib.time_limit import TooSlow, at_most

Progress = Callable[..., None]
Answer = dict[str, Any]
REFERENCE_SECONDS = 20
# of a tensor's range: what one node may lose at each precision before it is the one that differs
DIVERGES = {"exact": 1e-6, "fp32": 1e-4, "fp16": 2e-2, "int8": 0.2}
WORDS = 300  # characters of a framework's complaint


def take(progress: Progress, files: dict[str, str], name: str, folder: str, **allowed: bool) -> Answer:
    """``format`` and ``messages``; the artifact is in ``folder``."""
    from lib.convert import sources

    progress("Checking what was given" if files else "Building the model")
    format, messages = sources.take({n: Path(p) for n, p in files.items()}, name, Path(folder), **allowed)
    return {"format": format, "messages": messages, "bytes": size(Path(folder))}


def look(progress: Progress, format: str, folder: str) -> Answer:
    progress("Looking at inputs and outputs")
    runner = load(format, Path(folder))
    return {"signature": runner.signature().as_dict()}


def apply(progress: Progress, run: str, source: str, target: str, options: dict[str, Any]) -> Answer:
    """Runs the edge ``module:function``. What it may answer is in ``edges/__init__.py``.

    ``files`` has the SHA-256 of what it made: that is what is proven, and nothing else is handed out.
    """
    module, name = run.split(":")
    convert = getattr(importlib.import_module(module), name)
    try:
        said = convert(progress, Path(source), Path(target), options) or {}
    except (WorkbenchError, MemoryError):
        raise
    except Exception as error:  # whatever the tools raise; a visitor needs to know what the tool did not like
        if "can't allocate memory" in str(error):  # torch's way to say MemoryError
            raise MemoryError from error
        raise JobFailed(f"The tool gave up: {words(error)}") from error
    made = {"bytes": size(Path(target)), "files": digests(Path(target))}
    return {"messages": [], "inputs": {}, "outputs": {}, "fixed": {}, "limits": {}, "doubts": []} | said | made


def ask(
    progress: Progress,
    format: str,
    folder: str,
    out: str,
    seeds: list[int],
    fixed: dict[str, int],
    limits: dict[str, int] | None = None,
    timed: bool = True,
) -> Answer:
    """Makes the cases and runs the source on them; ``cases`` lists those that it took, with their files in ``out``.

    ``limits``: the largest sizes that the target says it takes; one case goes beyond each. ``timed`` False: it will be
    timed beside the target, which is fairer. ``doubts``: what the cases cannot show.
    """
    progress("Running the source")
    runner = load(format, Path(folder))
    signature, taken, refused = runner.signature(), [], []

    def take(some: list[feeds.Case]) -> int:
        before = len(taken)
        for case in some:
            file = f"{len(taken) + len(refused)}.npz"
            arrays.save(Path(out) / f"in-{file}", case.arrays)
            try:
                outputs = runner.run(_copied(case.arrays))
            except MemoryError:
                raise
            except Exception as error:
                refused.append((case, words(error)))
                continue
            arrays.save(Path(out) / f"out-{file}", outputs)
            about = {"kind": case.kind, "seed": case.seed, "sizes": case.sizes, "changed": case.changed}
            taken.append(about | {"file": file})
        return len(taken) - before

    # a runtime for TensorFlow Lite may crash where onnxruntime and torch refuse an index
    sized = feeds.resized(signature, tuple(seeds), fixed)
    others = feeds.cases(signature, tuple(seeds), fixed, wide=find(format).on_disk in ("onnx", "pt2"))
    take([c for c in others if c.kind != "resized"] + feeds.beyond(signature, fixed, limits or {}))
    notes = []
    if sized and not take(sized):
        notes.append(f"The source refuses inputs {_at(sized[0].sizes)}: {refused[-1][1]}")
        if take(feeds.resized(signature, tuple(seeds), fixed, equal=True)):
            notes.append("So free dimensions were tried with equal sizes only.")
    notes += [f"The source refuses {c.kind} inputs: {why}" for c, why in refused if c.kind in ("ordinary", "zeros", "large")]
    first = next((c for c in taken if c["kind"] == "ordinary"), None)
    again = runner.run(arrays.load(Path(out) / f"in-{first['file']}")) if first else {}
    steady = first is None or _same(arrays.load(Path(out) / f"out-{first['file']}"), again)
    return {
        "signature": signature.as_dict(),
        "cases": taken,
        "refused": list(dict.fromkeys(notes))[:4],
        "doubts": runner.doubts([arrays.load(Path(out) / f"in-{c['file']}") for c in taken])
        if isinstance(runner, Doubtful)
        else [],
        "steady": steady,
        "median_ms": _source_ms(runner, _first(out, first)) if first and timed else None,
    }


def answer(
    progress: Progress,
    format: str,
    folder: str,
    asked: str,
    out: str,
    cases: list[dict[str, Any]],
    source: dict[str, Any],
    names: dict[str, dict[str, str]],
    beside: dict[str, str] | None = None,
    last: bool = True,
) -> Answer:
    """Runs an artifact on the cases in ``asked``; outputs go to ``out`` under the source's names.

    ``source`` is the source's signature, ``names`` what the edges so far have renamed. ``beside`` is the source
    itself where both can live in one process: then both are timed in turns. Only the ``last`` artifact of a route is
    timed and put beside the reference evaluator.
    """
    progress("Running the result")
    runner = load(format, Path(folder))
    signature, given = runner.signature(), Signature.from_dict(source)
    ins = pair([v.name for v in given.inputs], [v.name for v in signature.inputs], names["inputs"])
    outs = pair([v.name for v in given.outputs], [v.name for v in signature.outputs], names["outputs"])
    dtypes = {v.name: v.dtype for v in signature.inputs}

    def run(run: Callable[[arrays.Arrays], arrays.Arrays], inputs: arrays.Arrays) -> arrays.Arrays:
        found = run({ins[n]: _cast(n, v, dtypes[ins[n]]) for n, v in inputs.items() if n in ins})
        return {name: found[mine] for name, mine in outs.items() if mine in found}

    refused, first = {}, next((c for c in cases if c["kind"] == "ordinary"), None)
    todo = [c for c in cases if not c["kind"].startswith("nudged")]
    # the first case comes twice: a dropout left on, or any other chance, shows
    for file, case in [(c["file"], c) for c in todo] + ([(f"again-{first['file']}", first)] if first else []):
        try:
            found = run(runner.run, arrays.load(Path(asked) / f"in-{case['file']}"))
            arrays.save(Path(out) / f"out-{file}", found)
        except MemoryError:
            raise
        except Exception as error:
            refused[file] = words(error)
    reply: Answer = {"signature": signature.as_dict(), "refused": refused, "reference": None, "median_ms": None}
    reply["notes"] = changes(given, signature, ins, outs)
    if last and first and first["file"] not in refused:
        inputs = arrays.load(Path(asked) / f"in-{first['file']}")
        reply["reference"] = _reference(runner, run, inputs, Path(out))
        calls: dict[str, Callable[[], Any]] = {"target": lambda: run(runner.run, inputs)}  # also casts, which is little
        if beside:
            other = load(beside["format"], Path(beside["folder"]))
            calls["source"] = lambda: other.run(inputs)
        progress("Timing")
        reply["median_ms"] = timing.median_ms(calls)
    return reply


def _reference(runner: Runner, run: Callable[..., arrays.Arrays], inputs: arrays.Arrays, out: Path) -> str | None:
    """None: no reference for this format; "": its outputs are in ``out``; or why not."""
    if not hasattr(runner, "run_reference"):
        return None
    try:
        with at_most(REFERENCE_SECONDS):
            arrays.save(out / "reference.npz", run(runner.run_reference, inputs))
    except TooSlow:
        return f"not waited for: the reference evaluator took over {REFERENCE_SECONDS} s"
    except Exception as error:
        return words(error)
    return ""


def judge(progress: Progress, **given: Any) -> Answer:
    """``proof.judge`` on files; see ``judging.py``."""
    from lib.convert import judging

    progress("Comparing")
    return judging.judge(**given)


def diverge(progress: Progress, source: str, target: str, inputs: str, names: dict[str, str], precision: str) -> Answer:
    """The first node whose output differs, between two ONNX artifacts; ``node`` is None where none was found.

    ``names``: what the edge between them renamed. The file ``inputs`` has the names of the route's source.
    Whatever goes wrong: the verdict stands without the node, so nothing is raised.
    """
    from lib.convert import diverge as bisection

    progress("Looking for the first node that differs")
    try:
        given = arrays.load(Path(inputs))
        ours, theirs = ([v.name for v in load("onnx", Path(f)).signature().inputs] for f in (source, target))
        mine = pair(list(given), ours, {})
        renamed = names | pair(ours, theirs, names)
        # an earlier step may have dropped an input that nothing used
        known = {mine[n]: v for n, v in given.items() if n in mine}
        return {"node": bisection.first(Path(source), Path(target), known, DIVERGES[precision], renamed)}
    except Exception:  # onnx's, onnxruntime's, ours
        return {"node": None}


def package(progress: Progress, **given: Any) -> Answer:
    from lib.convert import package as packing

    progress("Packing")
    return packing.pack(**given)


def size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every plain file by its path in ``folder``. Raises JobFailed for a link: it could be anything later."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise JobFailed("The tool left a link among its files; only plain files can be proven and handed out.")
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def words(error: BaseException) -> str:
    """A tool's complaint in one line, without paths of this machine."""
    text = clean(str(error)) or type(error).__name__
    return text if len(text) <= WORDS else text[: WORDS - 1] + "…"


def _copied(given: arrays.Arrays) -> arrays.Arrays:
    """A model may write into its inputs."""
    return {name: value.copy() for name, value in given.items()}


def _cast(name: str, value: np.ndarray, dtype: str) -> np.ndarray:
    """Raises JobFailed for an integer that the target's dtype does not hold."""
    wanted = numpy_dtype(dtype)
    if value.dtype == wanted or value.dtype.kind == "O":
        return value.copy()
    out = value.astype(wanted)
    if value.dtype.kind in "iu" and not np.array_equal(out.astype(value.dtype), value):
        raise JobFailed(f"input {name!r} is {wanted} in the converted model, which does not hold all {value.dtype} values")
    return out


def _same(a: arrays.Arrays, b: arrays.Arrays) -> bool:
    """Two runs on the same inputs: equal up to the order of additions among threads."""
    from lib.convert.measures import kind, peak, wide

    for name, one in a.items():
        two = b.get(name)
        if two is None or one.shape != two.shape:
            return False
        if kind(one) in "iubO":
            if not bool(np.all(one == two)):
                return False
        elif one.size and not np.allclose(wide(one), wide(two), rtol=0, atol=1e-4 * peak(one), equal_nan=True):
            return False
    return True


def _source_ms(runner: Runner, inputs: arrays.Arrays) -> float:
    return timing.median_ms({"source": lambda: runner.run(inputs)})["source"]


def _first(out: str, case: dict[str, Any]) -> arrays.Arrays:
    return arrays.load(Path(out) / f"in-{case['file']}")


def _at(sizes: dict[str, int]) -> str:
    return "at " + ", ".join(f"{n} = {s}" for n, s in sizes.items()) if sizes else ""
