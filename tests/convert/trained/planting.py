"""Errors planted into converted trained models: ``python -m tests.convert.trained.planting [--only NAME] [--made FOLDER]``.

Every plant of ``plants.py`` goes into the first, a middle and the last layer of every converted file. The independent
check says whether the file is wrong for its task now; the proof must not prove it then. A line of JSON each goes to
``trained_planted.jsonl`` in the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from lib.errors import WorkbenchError
from tests.convert.trained import check, corpus
from tests.convert.trained.judged import Converted
from tests.convert.trained.plants import PLANTS, layers, planted
from tests.convert.trained.subject import Subject

TARGETS = ("onnx-slim", "onnx-fp16", "onnx-int8-dynamic", "onnx-int8-static")
MODELS = ("torch-cnn", "torch-vit", "torch-lstm", "bert", "segmentation", "faces", "sklearn-regression", "sklearn-logistic")
LOG = Path(tempfile.gettempdir()) / "trained_planted.jsonl"


@dataclass(slots=True, kw_only=True)
class Planted:
    """``seen``: the check calls the file wrong. ``verdict``: the proof's."""

    model: str
    target: str
    plant: str
    layer: int
    agreement: float | None
    seen: bool
    verdict: str
    reason: str = ""

    @property
    def missed(self) -> bool:
        return self.seen and self.verdict == "proven"


def places(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1}) if count else []


def plant_all(subject: Subject, target: str, folder: Path) -> Iterator[Planted]:
    """Nothing where the converter refuses the model, or the converted file itself is not right: then no error shows."""
    try:
        converted = Converted(subject, target, folder).convert()
    except WorkbenchError:
        return
    with np.load(subject.samples) as found:
        samples = {name: found[name] for name in found.files if name != "labels"}
    sound = _agreement(subject, converted.model, target, folder)
    if sound is None or not sound[1]:
        return
    for name in PLANTS:
        for at in places(len(layers(converted.model))):
            model = planted(converted.model, name, at, samples)
            if model is None:
                continue
            truth = _agreement(subject, model, target, folder)
            judged = converted.verdict(model, f"{name}-{at}".replace(" ", "-"))
            about = {"model": subject.name, "target": target, "plant": name, "layer": at, "verdict": judged["verdict"]}
            agreement, seen = (None, True) if truth is None else (truth[0], not truth[1])
            yield Planted(**about, agreement=agreement, seen=seen, reason=judged["reason"])


def _agreement(subject: Subject, model: onnx.ModelProto, target: str, folder: Path) -> tuple[float, bool] | None:
    """The check's agreement, and whether that is right; None for a file that does not run."""
    path = folder / "planted.onnx"
    onnx.save(model, path)
    try:
        truth = check.independent(subject, path, target)
    except Exception:
        return None
    return truth.agreement, truth.right(target)


def summary(found: list[Planted]) -> str:
    seen = [p for p in found if p.seen]
    missed = [p for p in seen if p.missed]
    silent = [p for p in found if not p.seen]
    said = f"{len(found)} planted; the check sees {len(seen)}, of these the proof withholds {len(seen) - len(missed)}"
    said += (
        f" ({100 * (1 - len(missed) / max(len(seen), 1)):.1f} %). Of {len(silent)} that the check does not see, the proof "
    )
    return said + f"withholds {sum(p.verdict != 'proven' for p in silent)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--made", type=Path, default=Path(tempfile.gettempdir()) / "trained_models")
    given = parser.parse_args()
    found: list[Planted] = []
    for name in given.only or MODELS:
        model, _, only = name.partition(":")
        subject = corpus.make(model, given.made / model)
        for target in [only] if only else TARGETS:
            with tempfile.TemporaryDirectory() as scratch:
                for one in plant_all(subject, target, Path(scratch)):
                    found.append(one)
                    mark = "MISSED" if one.missed else "seen" if one.seen else ""
                    at = f"{one.model} -> {one.target}, {one.plant}, layer {one.layer}"
                    agreement = "-" if one.agreement is None else f"{100 * one.agreement:.1f} %"
                    print(f"{mark:7} {at}: {agreement} | {one.verdict} | {one.reason[:150]}", flush=True)
                    with LOG.open("a") as file:
                        file.write(json.dumps(asdict(one)) + "\n")
    print(summary(found))


if __name__ == "__main__":
    main()
