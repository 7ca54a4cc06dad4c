"""Runs Keras 3 models (``.keras``) on Keras' torch backend: no TensorFlow in the app's environment."""

from __future__ import annotations

from pathlib import Path

from lib.convert.core.runner import Arrays
from lib.convert.formats.keras import models as keras_models
from lib.model_inputs.signature import Signature


class KerasRunner:
    """Runs ``model.keras`` of an artifact folder. Its classes were checked on upload (``check.py``)."""

    def __init__(self, folder: Path) -> None:
        self._model = keras_models.load(folder, "torch")
        self._signature = keras_models.signature(self._model)

    def signature(self) -> Signature:
        return self._signature

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the model. Raises JobFailed if it rejects the inputs."""
        import torch

        with torch.no_grad():
            return keras_models.run(self._model, inputs, self._signature)

    def close(self) -> None:
        del self._model
