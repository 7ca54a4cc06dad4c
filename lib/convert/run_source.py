"""The source's side of the proof: is it sound, which sizes does it take, and what does it answer?

Runs before any tool touches the model, so that no tool is blamed for a fault of the source, and so that tools which
must fix a dimension fix it at a size that the source takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.convert import arrays, feeds, signatures, timing
from lib.convert.complaints import words
from lib.convert.formats import find
from lib.convert.runners import Checked, Doubtful, Hinting, Runner, load, run
from lib.convert.tolerances import EXTREME
from lib.errors import InvalidFile, LimitExceeded
from lib.model_inputs import sizes as dimensions
from lib.model_inputs.dimensions import is_rate
from lib.model_inputs.hints import in_folder
from lib.model_inputs.samples import Samples, halves, read
from lib.model_inputs.signature import Signature
from lib.model_inputs.stored import save
from lib.model_inputs.text_files import tokenizer_in

Answer = dict[str, Any]
CASE_SECONDS, EXTREME_SECONDS = 60, 10  # of one run; an input that takes longer counts as refused
SEARCH_SECONDS = 20
MOST_JUDGED, MOST_BYTES = 512, 512 << 20  # samples that are run, and bytes of their inputs and outputs
NUDGED_SAMPLES = 2
MOST_SLOW = 2  # runs
OTHER_RATE = 8000  # hertz: telephones, beside 16000


@dataclass(slots=True)
class Asked:
    """What the source was asked and answered; ``cases`` has those that it took, with their files in ``out``."""

    runner: Runner
    out: Path
    cases: list[Answer] = field(default_factory=list)
    refused: list[tuple[feeds.Case, str]] = field(default_factory=list)
    bytes: int = 0
    prefix: str = ""  # of the files' names
    slow: int = 0  # runs that took too long

    def run(self, inputs: arrays.Arrays, seconds: float) -> arrays.Arrays:
        """On copies, since a model may write into its inputs."""
        return run(self.runner, {name: value.copy() for name, value in inputs.items()}, seconds)

    def too_slow(self) -> None:
        """Raises InvalidFile the second time: a model that does not end would hold a worker for every case."""
        self.slow += 1
        if self.slow >= MOST_SLOW:
            raise InvalidFile(
                "The model takes too long for one input, or does not end, so it cannot be compared with what is made of it. "
                "Give smaller sizes."
            )

    def take(self, case: feeds.Case, label: int | None = None) -> bool:
        file = f"{self.prefix}{len(self.cases) + len(self.refused)}.npz"
        try:
            outputs = self.run(case.arrays, EXTREME_SECONDS if case.kind in EXTREME else CASE_SECONDS)
        except MemoryError:
            raise
        except Exception as error:  # whatever a framework raises for inputs that it does not take
            self.refused.append((case, words(error)))
            if isinstance(error, LimitExceeded) and case.kind not in EXTREME:
                self.too_slow()
            return False
        arrays.save(self.out / f"in-{file}", case.arrays)
        arrays.save(self.out / f"out-{file}", outputs)
        self.bytes += sum(v.nbytes for v in (*case.arrays.values(), *outputs.values()))
        about = {"kind": case.kind, "seed": case.seed, "sizes": case.sizes, "changed": case.changed, "label": label}
        self.cases.append(about | {"file": file})
        return True


def run_source(
    progress: Any,
    format: str,
    folder: str,
    out: str,
    seeds: list[int],
    sizes: dict[str, int],
    samples: dict[str, Any] | None = None,
    calibrated: bool = False,
    timed: bool = True,
    one_signature: str | None = None,
) -> Answer:
    """Checks the source, finds sizes that it takes, reads the samples, makes the cases and runs the source on them.

    ``samples``: ``path``, ``name``, ``folder`` to store them in, ``preprocessing``; half of them are judged where the
    other half is used for calibration (``calibrated``). ``timed`` False: it will be timed beside the target.
    ``one_signature``: the target has room for one only, this, or the default for ""; None: for all.
    Raises InvalidFile for a bad source or bad samples, InvalidValue for sizes that it does not have.
    """
    progress("Checking the source")
    runner = load(format, Path(folder))
    if one_signature is not None and len(getattr(runner, "signatures", ())) > 1:
        signatures.pick(Path(folder), one_signature, runner.signatures)
        runner = load(format, Path(folder))
    if isinstance(runner, Checked):
        runner.check()
    signature, asked = runner.signature(), Asked(runner, Path(out))
    dimensions.check(sizes, signature)
    hints = _hints(runner, Path(folder))
    given = _samples(samples, signature, sizes, Path(folder), hints) if samples else None
    progress("Running the source")
    wide = find(format).on_disk in ("onnx", "pt2")  # other runtimes crash where these refuse an index
    found = _sized(asked, signature, sizes, _sizes_of(given, signature, sizes), seeds)
    if given is not None and given.kind != "arrays" and found.sizes and _sizes_of(given, signature, {}) != found.sizes:
        # pictures, waves and texts leave the size open: they are read once more at the one that the source takes
        given = _samples(samples, signature, found.sizes, Path(folder), hints)
    about = {"fixed": found.sizes, "ranges": found.integers or None, "other": found.second or found.sizes}
    for case in feeds.cases(signature, tuple(seeds), **about, wide=wide, hints=hints):
        if not (case.kind in EXTREME and any(c.kind in EXTREME and "time of one run" in why for c, why in asked.refused)):
            asked.take(case)
    _other_rate(asked, signature, sizes, seeds[0])
    judged = _judge_samples(asked, given, calibrated) if given is not None else []
    _nudge(asked, tuple(seeds))
    first = next((c for c in asked.cases if c["kind"] == "ordinary"), None) or next(iter(asked.cases), None)
    steady = True
    if first is not None:
        inputs = arrays.load(asked.out / f"in-{first['file']}")
        steady = _same(arrays.load(asked.out / f"out-{first['file']}"), asked.run(inputs, CASE_SECONDS))
    notes = [
        f"The source refuses {c.kind} inputs: {why}" for c, why in asked.refused if c.kind in ("ordinary", "zeros", "large")
    ]
    return {
        "signature": signature.as_dict(),
        "sizes": found.sizes,
        "other": found.second,
        "sizes_note": found.note if found.before or not found.taken else "",
        "cases": asked.cases,
        "refused": list(dict.fromkeys(notes))[:4],
        "doubts": _doubts(runner, asked),
        "constants": runner.constants() if isinstance(runner, Checked) else [],
        "steady": steady,
        "median_ms": _milliseconds(runner, asked.out, first) if first and timed else None,
        "samples": given and _described(given, samples, judged, calibrated),
    }


def run_further(progress: Any, format: str, folder: str, out: str, sizes: dict[str, int], limits: dict[str, int]) -> Answer:
    """One more case for each dimension that a target gives a largest size, one larger: ``cases`` that the source takes."""
    progress("Running the source")
    runner = load(format, Path(folder))
    asked = Asked(runner, Path(out), prefix="further-")
    for case in feeds.beyond(runner.signature(), sizes, limits):
        asked.take(case)
    return {"cases": asked.cases}


def _hints(runner: Runner, folder: Path) -> dict[str, Any]:
    """What the source says of how its pictures are made: metadata, first operators, files beside it."""
    return runner.hints() if isinstance(runner, Hinting) else in_folder(folder)


def _samples(
    given: dict[str, Any], signature: Signature, sizes: dict[str, int], folder: Path, hints: dict[str, Any]
) -> Samples:
    found = read(
        Path(given["path"]),
        given["name"],
        signature,
        preprocessing=given.get("preprocessing"),
        sizes=sizes,
        tokenizer=tokenizer_in(folder),
        hints=hints,
    )
    if not found.rows:
        raise InvalidFile("There are no samples in the file.")
    widths = {v.shape[-1] for v in signature.outputs if v.shape and isinstance(v.shape[-1], int)}
    if found.kind == "pictures" and found.labels is not None and widths and len(found.classes) not in widths:
        found.labels = None  # folders of a visitor's own classes say nothing of the model's
        several = " or ".join(map(str, sorted(widths)[:3]))
        found.messages.append(
            f"The labels were left out: {len(found.classes)} folders, and the model has {several} classes."
        )
    save(found, Path(given["folder"]))
    return found


def _sizes_of(samples: Samples | None, signature: Signature, sizes: dict[str, int]) -> dict[str, int]:
    """What the first sample makes of the dynamic dimensions."""
    found: dict[str, int] = {}
    for value in signature.inputs if samples else ():
        row = samples.rows[0].get(value.name)
        if row is not None and row.ndim == len(value.shape):
            found |= {d: n for d, n in zip(value.shape, row.shape, strict=True) if isinstance(d, str) and d not in sizes}
    return found


def _sized(
    asked: Asked, signature: Signature, sizes: dict[str, int], real: dict[str, int], seeds: list[int]
) -> dimensions.Found:
    """As given, then as the samples have them, then by trying; other sizes are tried for all that were not given."""
    if not real:
        return _searched(asked, signature, sizes, seeds)
    found, free = _searched(asked, signature, sizes | real, seeds), _searched(asked, signature, sizes, seeds)
    if not found.taken:
        return free
    found.second = next((s for s in (found.second, free.sizes, free.second) if s and s != found.sizes), None)
    found.note = f"Sizes: {dimensions.shown(found.sizes)}, as the samples have them."
    return found


def _other_rate(asked: Asked, signature: Signature, fixed: dict[str, int], seed: int) -> None:
    """Sound at another rate wants other sizes, and often a branch of its own."""
    rates = {v.name: (OTHER_RATE, OTHER_RATE) for v in signature.inputs if is_rate(v)}
    if rates and (found := _searched(asked, signature, fixed, [seed], rates)).taken:
        made = feeds.cases(signature, (seed,), found.sizes, ranges=found.integers | rates, only_first=True)[0]
        asked.take(feeds.Case("alone", seed, found.sizes, made.arrays, next(iter(rates))))


def _searched(
    asked: Asked,
    signature: Signature,
    fixed: dict[str, int],
    seeds: list[int],
    set_: dict[str, tuple[int, int]] | None = None,
) -> dimensions.Found:
    """``set_``: integer inputs with a value that is not searched for."""

    def accepts(sizes: dict[str, int], ranges: dict[str, tuple[int, int]]) -> str:
        made = feeds.cases(signature, (seeds[0],), sizes, ranges=ranges | (set_ or {}), only_first=True)[0]
        try:
            asked.run(made.arrays, SEARCH_SECONDS)
        except MemoryError:
            raise
        except LimitExceeded as error:
            asked.too_slow()
            return words(error)
        except Exception as error:
            return words(error)
        return ""

    if not signature.inputs:
        return dimensions.Found({})
    return dimensions.search(signature, fixed, accepts, integers_too=True)


def _judge_samples(asked: Asked, samples: Samples, calibrated: bool) -> list[int]:
    """Numbers of the rows that were run; one that the source refuses is the visitor's fault and named."""
    rows = np.array(halves(samples)[1] if calibrated else range(len(samples.rows)))
    done: list[int] = []
    # files are often sorted by class or by time: the first few say little of the rest
    for number in np.random.default_rng([len(rows), feeds.ORDER]).permutation(rows)[:MOST_JUDGED].tolist():
        if asked.bytes > MOST_BYTES:
            break
        label = samples.labels[number] if samples.labels is not None else None
        if not asked.take(feeds.Case("sample", number, {}, samples.rows[number]), label):
            raise InvalidFile(f"The model refuses sample {number + 1} of the file: {asked.refused[-1][1]}")
        done.append(number)
    return done


def _nudge(asked: Asked, seeds: tuple[int, ...]) -> None:
    """Inputs that look real, moved by their last bit: what rounding makes of saturated outputs shows only there."""
    for kind in ("lifelike", "sample"):
        for case in [c for c in asked.cases if c["kind"] == kind][:NUDGED_SAMPLES]:
            given = arrays.load(asked.out / f"in-{case['file']}")
            if any(v.dtype.kind == "f" for v in given.values()):
                moved = feeds.nudged(given, case["seed"])
                asked.take(feeds.Case(f"nudged {kind}", case["seed"], case["sizes"], moved))


def _doubts(runner: Runner, asked: Asked) -> list[str]:
    if not isinstance(runner, Doubtful):
        return []
    return runner.doubts([arrays.load(asked.out / f"in-{c['file']}") for c in asked.cases if c["kind"] != "nudged"][:40])


def _described(found: Samples, given: dict[str, Any], judged: list[int], calibrated: bool) -> Answer:
    calibration = halves(found)[0] if calibrated else []
    return {
        "name": given["name"],
        "kind": found.kind,
        "count": len(found.rows),
        "labels": found.labels is not None,
        "classes": found.classes[:1000],
        "preprocessing": found.preprocessing.as_dict() if found.preprocessing else None,
        "calibration": len(calibration),
        "judged": len(judged),
        "shared": len(set(calibration) & set(judged)),
        "messages": found.messages,
    }


def _milliseconds(runner: Runner, out: Path, case: Answer) -> float:
    inputs = arrays.load(out / f"in-{case['file']}")
    return timing.measured({"source": lambda: runner.run(inputs)})[0]["source"]


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
