"""Completes an exported file with its metadata, runs it beside the run's own network, and says whether it may leave.

Child processes only. The file that is measured is the one that leaves, byte for byte.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, JobFailed, WorkbenchError
from lib.train.data import DataSet
from lib.train.edge import agreement, classwise, runtimes
from lib.train.edge.export_row import PROVEN, WITHHELD, ExportRow
from lib.train.edge.targets import Target
from lib.train.experiment import cores
from lib.train.pixel_cache import pixels
from lib.train.runs import Run

MAX_PICTURES, MAX_BYTES = 2000, 256 << 20  # validation pictures, and of them together; of more, some drawn at random
MORE = 512  # training pictures, for classes that validation has too few of
STILL = "The run's own network answers nearly the same to every picture: too little to check. Train for longer."
Progress = Any


class Checker:
    """What every file of a run is compared with: computed once, then ``row`` for each file."""

    def __init__(self, run: Run, data: DataSet, backbones: tuple[str, ...] = (), precision: str = "int8") -> None:
        """``precision`` is of the files to come. Raises JobFailed where the data set is not the one that the run saw."""
        record = run.record()
        recipe, classes = record.parsed_recipe(), record.classes
        if record.data.fingerprint != data.fingerprint or classes != tuple(data.classes):
            raise JobFailed("The data set was changed since this run, so nothing can be checked on it. Train again.")
        self.run, self.classes, self.backbones = run, classes, backbones
        split, rng = data.split(recipe.validation, recipe.seed), np.random.default_rng(recipe.seed)
        part = np.asarray(split.val)
        most = min(MAX_PICTURES, MAX_BYTES // (3 * recipe.image_size**2))
        if len(part) > most:
            part = np.sort(rng.permutation(part)[:most])
        cached = pixels(data, recipe.image_size, data.cache)
        self.pictures = np.asarray(cached[part])
        self.labels = np.array([data.items[k].label for k in part])
        mixed = agreement.candidates(self.pictures)
        with runtimes.open_runtime("pytorch", run, backbones=backbones) as own:
            self.expected, _ = own.probabilities(list(self.pictures))
            more = _extra_pictures(
                self.expected, np.asarray(split.train), np.array([item.label for item in data.items]), rng
            )
            answered = [own.probabilities(list(cached[some]))[0] for some in more.values()]
            best = [classwise.most_certain(a, k) for k, a in zip(more, answered, strict=True)]
            self.more = np.concatenate([cached[:0], *(cached[some[b]] for some, b in zip(more.values(), best, strict=True))])
            self.expected_more = np.concatenate([self.expected[:0], *(a[b] for a, b in zip(answered, best, strict=True))])
            answers, _ = own.probabilities(list(mixed))
            chosen = agreement.least_certain(answers)
            self.probes, self.probed = mixed[chosen], answers[chosen]
            wrong = agreement.WRONG_PICTURES if precision == "int8" else {}
            self.others = {
                what: own.probabilities(list(np.ascontiguousarray(change(self.probes))))[0] for what, change in wrong.items()
            }

    def row(self, file: Path, target: Target) -> ExportRow:
        """Of a complete file. A file that disagrees, or that a runtime refuses, makes a row that withholds it."""
        row = ExportRow(target=target.name, verdict=WITHHELD, count=len(self.labels), threads=cores())
        row.megabytes = round(file.stat().st_size / 1e6, 2)
        row.runtime = "onnxruntime" if target.name == "onnx" else "litert"
        try:
            row.why, unjudged = self._compare(file, target, row)
        except (InvalidFile, JobFailed) as error:
            row.why = error.message
        if not row.why:
            row.verdict, row.why = PROVEN, self._summary(target, row, unjudged)
        return row

    def _compare(self, file: Path, target: Target, row: ExportRow) -> tuple[str, list[str]]:
        """Why it may not leave, and the classes of which nothing can be said."""
        groups = (self.probes, self.pictures, self.more)  # probes first: the first ones are slow
        with runtimes.open_runtime(row.runtime, self.run, file, row.threads) as plain:
            probed, _ = plain.probabilities(list(self.probes))
            found, row.milliseconds = plain.probabilities(list(self.pictures))
            row.noisy = plain.noisy
            computed = [probed, found, plain.probabilities(list(self.more))[0]]
        if target.name != "onnx":
            row.mediapipe = False
            with runtimes.open_runtime("mediapipe", self.run, file) as phone:
                of_probes, on_phone, of_more = (phone.probabilities(list(some))[0] for some in groups)
            row.mediapipe = True
        else:
            of_probes, on_phone, of_more = computed
        judged = agreement.judge(self.expected, on_phone, self.labels, target.precision)
        row.accuracy, row.interval = judged.accuracy, list(judged.interval)
        row.same_label, row.difference = judged.same_label, judged.difference
        answers = np.concatenate([of_probes, on_phone, of_more])
        every = np.concatenate([self.expected, self.expected_more])
        unjudged = classwise.unjudged(every, self.classes, target.precision)
        still = len(unjudged) == len(self.classes) and target.precision != "fp32"
        return (
            agreement.same_file(np.concatenate(computed), answers, target.precision)
            or judged.why
            or classwise.lost_class(every, answers[len(of_probes) :], self.classes, target.precision)
            or (STILL if still else "")
            or agreement.compare(self.probed, of_probes, target.precision, self.others)
        ), unjudged

    def _summary(self, target: Target, row: ExportRow, unjudged: list[str]) -> str:
        who = "onnxruntime" if target.name == "onnx" else "MediaPipe"
        words = (
            f"{who} gives the label of the run's own network on all of {row.count} validation pictures, ties not counted."
        )
        if target.precision == "int8":
            low, high = agreement.judge(self.expected, self.expected, self.labels, target.precision).interval
            words = (
                f"{who} is right with it on {row.accuracy:.1%} of {row.count} validation pictures, inside the 95 % interval "
                f"of the run's own network, {low:.1%} to {high:.1%}."
            )
        if unjudged and target.precision != "fp32":
            words += f" The network hardly ever answers {classwise.named(unjudged)}: of that nothing could be compared."
        return words


def _extra_pictures(
    expected: np.ndarray, train: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Some training pictures, by class, of each class that too few validation pictures can judge."""
    classes = classwise.undersampled_classes(expected)
    each = max(MORE // max(len(classes), 1), classwise.MIN_PICTURES)
    shuffled = rng.permutation(train)
    found = {int(k): shuffled[labels[shuffled] == k][:each] for k in classes[:MORE]}
    return {k: np.sort(some) for k, some in found.items() if len(some)}


def add_metadata(source: Path, target: Target, out: Path, classes: tuple[str, ...], about: Mapping[str, str]) -> Path:
    """Writes ``out/<the target's file>``: ``source`` with its metadata, read back and compared. ONNX has them already.

    ``about``: name, description, author and license. Raises InvalidFile where the file does not hold what was written.
    """
    from lib.tflite import metadata

    made = out / target.file
    if target.name == "onnx":
        shutil.copyfile(source, made)
        return made
    wanted = metadata.classifier(classes, mean=(0.0,), std=(1.0,), **about)
    metadata.write(source, made, wanted)
    found = metadata.read(made)
    if found is None or (found.labels, found.mean, found.std) != (tuple(classes), (0.0,), (1.0,)):
        raise InvalidFile("The metadata that were written into the file are not what is read from it.")
    return made


def check(
    run: Run, data: DataSet, source: Path, target: Target, out: Path, about: Mapping[str, str], backbones: tuple[str, ...]
) -> ExportRow:
    """The row of ``source`` once it is ``add_metadata`` in ``out``; its ``seconds`` by step."""
    began = time.monotonic()
    checker = Checker(run, data, backbones, target.precision)
    ready = time.monotonic()
    try:
        made = add_metadata(source, target, out, checker.classes, about)
    except WorkbenchError as error:
        return ExportRow(target=target.name, verdict=WITHHELD, why=error.message)
    noted = time.monotonic()
    row = checker.row(made, target)
    row.file = made.name
    row.seconds = {
        "own network": round(ready - began, 2),
        "metadata": round(noted - ready, 2),
        "comparison": round(time.monotonic() - noted, 2),
    }
    return row
