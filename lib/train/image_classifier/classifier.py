"""Model Maker's ImageClassifier: trains, evaluates and exports synchronously in the calling process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, InvalidValue
from lib.settings import Settings, prepare_library
from lib.train import experiment, pictures, terminal
from lib.train.backbones import BackboneWeights, listed
from lib.train.data import DataSet
from lib.train.edge.export_row import ExportRow
from lib.train.edge.save import save, target_of
from lib.train.frameworks import framework
from lib.train.image_classifier.dataset import Dataset, combined
from lib.train.image_classifier.options import ImageClassifierOptions
from lib.train.quantization import QuantizationConfig
from lib.train.recipe import Recipe
from lib.train.run_record import DataReference
from lib.train.runs import Run, Runs

SMALLEST = 1e-7  # lower bound of a probability, to avoid log(0)
HOME = "workbench"  # subfolder of export_dir with the run and its dataset


class ImageClassifier:
    """Created with ``create``. ``run`` is the training run, ``rows`` holds the measurements of exported files by name."""

    def __init__(self, run: Run, data: DataSet, recipe: Recipe, settings: Settings, export_dir: Path) -> None:
        self.run, self.rows = run, dict[str, ExportRow]()
        self._data, self._recipe, self._settings, self._export_dir = data, recipe, settings, export_dir

    @classmethod
    def create(cls, train_data: Dataset, validation_data: Dataset, options: ImageClassifierOptions) -> ImageClassifier:
        """Train, and keep the best epoch on ``validation_data``. Always starts a new run, in ``export_dir/workbench``.

        Raises InvalidValue for options out of range, InvalidFile for data that do not match, JobFailed if the backbone's
        weights cannot be loaded.
        """
        recipe = options.recipe()
        assert options.hparams is not None
        export_dir = Path(os.path.abspath(options.hparams.export_dir))
        data = combined(train_data, validation_data, export_dir / HOME)
        data.save()
        prepare_library(KERAS_BACKEND="torch")
        settings = Settings.from_environment()
        if recipe.backbone not in listed(settings.train_backbones):
            settings = replace(settings, train_backbones=(*settings.train_backbones, recipe.backbone))
        name = train_data.data.folder.name
        reference = DataReference(name=name, fingerprint=data.fingerprint, count=len(data.items), classes=len(data.classes))
        run = Runs(export_dir / HOME / "runs").new(name, {"recipe": recipe.as_dict(), "data": asdict(reference)})
        (run.folder / "source.txt").write_text(str(data.home))
        context = experiment.RunContext(
            data=data, cache=data.cache, trackers=settings.trackers, backbones=settings.train_backbones
        )
        for _ in terminal.show(experiment.run_training(run, recipe, context)):
            pass
        return cls(run, data, recipe, settings, export_dir)

    @property
    def label_names(self) -> list[str]:
        return list(self._data.classes)

    @cached_property
    def _network(self) -> Any:
        arguments = self.label_names, self.run.folder, self._settings.train_backbones
        return framework(self._recipe.framework).load(self._recipe, tuple(arguments[0]), *arguments[1:])

    def evaluate(self, data: Dataset, batch_size: int = 32) -> tuple[float, float]:
        """Returns the mean cross-entropy and the accuracy on ``data``.

        Raises InvalidValue for an invalid batch size, InvalidFile for other classes or a missing image.
        """
        if data.label_names != self.label_names:
            raise InvalidFile("The classes of these pictures differ from those of the training. Use the same folders.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InvalidValue("batch_size", batch_size, "a whole number, 1 or more")
        paths, labels = data.paths, np.array(data.labels)
        rows = []
        with ThreadPoolExecutor(experiment.cores()) as pool:
            for start in range(0, len(paths), batch_size):
                batch = np.stack(list(pool.map(self._squashed, paths[start : start + batch_size])))
                rows.append(self._network.probabilities(batch))
        probabilities = np.concatenate(rows)
        true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return float(-np.log(true_class.clip(SMALLEST)).mean()), float((probabilities.argmax(1) == labels).mean())

    def _squashed(self, path: Path) -> np.ndarray:
        return pictures.resize(pictures.load(path), self._recipe.image_size)

    def export_model(self, model_name: str = "model.tflite", quantization_config: QuantizationConfig | None = None) -> Path:
        """Write ``export_dir/model_name``, with labels and normalization included. A name ending in .onnx exports ONNX.

        Raises JobFailed with the reason if the file is withheld because it disagrees with the trained network.
        """
        if quantization_config is not None and not isinstance(quantization_config, QuantizationConfig):
            raise InvalidValue("quantization_config", quantization_config, "a config from lib.train.quantization, or None")
        path = self._export_dir / model_name
        target = target_of(path, quantization_config.target if quantization_config else "")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows[model_name] = save(self.run, self._data, path, target, self._settings, terminal.Stages())
        print(f"{model_name}: {terminal.sentence(self.rows[model_name])}")
        return path

    def export_labels(self, export_dir: str | os.PathLike[str], label_filename: str = "labels.txt") -> Path:
        """Write the class names in output order, one per line."""
        path = Path(export_dir) / label_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self.label_names), encoding="utf-8")
        return path

    def summary(self) -> None:
        """Print the backbone, its weights, and the input and output of the network."""
        weights = self.run.record().weights or BackboneWeights()
        side, classes = self._recipe.image_size, len(self.label_names)
        print(f"{self._recipe.backbone}: {weights.parameters / 1e6:.1f} M parameters from {weights.source}")
        print(
            f"Input: {side} x {side} x 3, RGB from 0 to 255; output: {classes} probabilities: {', '.join(self.label_names)}"
        )
