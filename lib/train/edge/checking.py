"""Adds metadata to an exported file, runs it next to the run's own network, and decides whether it may be released.

Child processes only. The measured file is the released file, byte for byte.
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

MAX_PICTURES, MAX_BYTES = 2000, 256 << 20  # limits on the validation images; larger sets are sampled at random
MORE = 512  # training images for classes with too few validation images
STILL = "The trained network predicts nearly the same for every picture: too little to check. Train for longer."
Progress = Any


class Checker:
    """The reference for every file of a run: computed once, then ``row`` is called for each file."""

    def __init__(self, run: Run, data: DataSet, backbones: tuple[str, ...] = (), precision: str = "int8") -> None:
        """``precision`` is that of the files. Raises JobFailed if the dataset is not the one the run was trained on."""
        record = run.record()
        recipe, classes = record.parsed_recipe(), record.classes
        if record.data.fingerprint != data.fingerprint or classes != tuple(data.classes):
            raise JobFailed("The data set has changed since this run, so no file can be checked on it. Train again.")
        self.run, self.classes, self.backbones = run, classes, backbones
        split, rng = data.split(recipe.validation, recipe.seed), np.random.default_rng(recipe.seed)
        part = np.asarray(split.val)
        limit = min(MAX_PICTURES, MAX_BYTES // (3 * recipe.image_size**2))
        if len(part) > limit:
            part = np.sort(rng.permutation(part)[:limit])
        cached = pixels(data, recipe.image_size, data.cache)
        self.pictures = np.asarray(cached[part])
        self.labels = np.array([data.items[k].label for k in part])
        mixed = agreement.candidates(self.pictures)
        with runtimes.open_runtime("pytorch", run, backbones=backbones) as network:
            self.expected, _ = network.probabilities(list(self.pictures))
            extra = _extra_pictures(
                self.expected, np.asarray(split.train), np.array([item.label for item in data.items]), rng
            )
            extra_answers = [network.probabilities(list(cached[indices]))[0] for indices in extra.values()]
            top = [classwise.most_certain(a, k) for k, a in zip(extra, extra_answers, strict=True)]
            self.more = np.concatenate(
                [cached[:0], *(cached[indices[b]] for indices, b in zip(extra.values(), top, strict=True))]
            )
            self.expected_more = np.concatenate(
                [self.expected[:0], *(a[b] for a, b in zip(extra_answers, top, strict=True))]
            )
            answers, _ = network.probabilities(list(mixed))
            chosen = agreement.least_certain(answers)
            self.probes, self.probed = mixed[chosen], answers[chosen]
            corruptions = agreement.WRONG_PICTURES if precision == "int8" else {}
            self.others = {
                corruption: network.probabilities(list(np.ascontiguousarray(change(self.probes))))[0]
                for corruption, change in corruptions.items()
            }

    def row(self, file: Path, target: Target) -> ExportRow:
        """Returns the row of a complete file. A file that disagrees, or that a runtime rejects, is withheld."""
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
        """Returns why the file must be withheld, and the classes that could not be checked."""
        groups = (self.probes, self.pictures, self.more)  # the probes come first, because the first inferences are slow
        with runtimes.open_runtime(row.runtime, self.run, file, row.threads) as runtime:
            probe_answers, _ = runtime.probabilities(list(self.probes))
            own_answers, row.milliseconds = runtime.probabilities(list(self.pictures))
            row.noisy = runtime.noisy
            computed = [probe_answers, own_answers, runtime.probabilities(list(self.more))[0]]
        if target.name != "onnx":
            row.mediapipe = False
            with runtimes.open_runtime("mediapipe", self.run, file) as phone:
                phone_probes, phone_answers, phone_more = (phone.probabilities(list(group))[0] for group in groups)
            row.mediapipe = True
        else:
            phone_probes, phone_answers, phone_more = computed
        verdict = agreement.judge(self.expected, phone_answers, self.labels, target.precision)
        row.accuracy, row.interval = verdict.accuracy, list(verdict.interval)
        row.same_label, row.difference = verdict.same_label, verdict.difference
        answers = np.concatenate([phone_probes, phone_answers, phone_more])
        references = np.concatenate([self.expected, self.expected_more])
        unjudged = classwise.unjudged(references, self.classes, target.precision)
        constant = len(unjudged) == len(self.classes) and target.precision != "fp32"
        return (
            agreement.same_file(np.concatenate(computed), answers, target.precision)
            or verdict.why
            or classwise.lost_class(references, answers[len(phone_probes) :], self.classes, target.precision)
            or (STILL if constant else "")
            or agreement.compare(self.probed, phone_probes, target.precision, self.others)
        ), unjudged

    def _summary(self, target: Target, row: ExportRow, unjudged: list[str]) -> str:
        lib = "onnxruntime" if target.name == "onnx" else "MediaPipe"
        text = f"{lib} predicts the trained network's label on all {row.count} validation pictures, not counting ties."
        if target.precision == "int8":
            low, high = agreement.judge(self.expected, self.expected, self.labels, target.precision).interval
            text = (
                f"{lib} is correct with it on {row.accuracy:.1%} of {row.count} validation pictures, within the 95 % "
                f"interval of the trained network, {low:.1%} to {high:.1%}."
            )
        if unjudged and target.precision != "fp32":
            text += f" The network hardly ever predicts {classwise.named(unjudged)}, so that could not be compared."
        return text


def _extra_pictures(
    expected: np.ndarray, train: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Select training images, by class, for each class with too few validation images."""
    classes = classwise.undersampled_classes(expected)
    per_class = max(MORE // max(len(classes), 1), classwise.MIN_PICTURES)
    shuffled = rng.permutation(train)
    by_class = {int(k): shuffled[labels[shuffled] == k][:per_class] for k in classes[:MORE]}
    return {k: np.sort(indices) for k, indices in by_class.items() if len(indices)}


def add_metadata(source: Path, target: Target, out: Path, classes: tuple[str, ...], about: Mapping[str, str]) -> Path:
    """Write ``source`` with its metadata to ``out/<the target's file>`` and read it back. ONNX files already have metadata.

    ``about`` holds name, description, author and license. Raises InvalidFile if the metadata read back differ.
    """
    from lib.tflite import metadata

    path = out / target.file
    if target.name == "onnx":
        shutil.copyfile(source, path)
        return path
    expected = metadata.classifier(classes, mean=(0.0,), std=(1.0,), **about)
    metadata.write(source, path, expected)
    actual = metadata.read(path)
    if actual is None or (actual.labels, actual.mean, actual.std) != (tuple(classes), (0.0,), (1.0,)):
        raise InvalidFile("The metadata read back from the file differ from what was written.")
    return path


def check(
    run: Run, data: DataSet, source: Path, target: Target, out: Path, about: Mapping[str, str], backbones: tuple[str, ...]
) -> ExportRow:
    """Add metadata to ``source`` in ``out`` and return the file's row, with the ``seconds`` of each step."""
    began = time.monotonic()
    checker = Checker(run, data, backbones, target.precision)
    network_done = time.monotonic()
    try:
        path = add_metadata(source, target, out, checker.classes, about)
    except WorkbenchError as error:
        return ExportRow(target=target.name, verdict=WITHHELD, why=error.message)
    metadata_done = time.monotonic()
    row = checker.row(path, target)
    row.file = path.name
    row.seconds = {
        "own network": round(network_done - began, 2),
        "metadata": round(metadata_done - network_done, 2),
        "comparison": round(time.monotonic() - metadata_done, 2),
    }
    return row
