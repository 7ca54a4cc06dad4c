"""``keras.callbacks.TensorBoard`` without TensorFlow: the same tags and folders, written by torch's SummaryWriter.

Like the original, it writes to ``train`` and ``validation`` below the run's folder. The folder itself belongs to the
tracker: TensorBoard reads event files in order and never returns to an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lib.train.keras_training.network import array

BUCKETS = 30  # default of tf.summary.histogram


class TensorBoard(keras.callbacks.TensorBoard):
    """Takes the arguments of the original. Layers without trainable weights have no histograms, since they never change.

    ``embeddings_freq`` and ``profile_batch`` are not supported: the former writes a file that the projector cannot read,
    and Keras itself rejects the latter on torch.
    """

    def __init__(self, log_dir: Path, **values: Any) -> None:
        super().__init__(log_dir=str(log_dir), **values)
        self._summary_module = Summary()

    @property
    def summary(self) -> Summary:
        return self._summary_module

    def _write_keras_model_summary(self) -> None:
        with self._train_writer.as_default():
            self.summary.keras_model("keras", self.model, step=0)

    def _log_weights(self, epoch: int) -> None:
        layers = [layer for layer in self.model.layers if layer.trainable_weights]
        with self._train_writer.as_default():
            for weight in (w for layer in layers for w in layer.weights):
                self.summary.histogram(f"{weight.path}/histogram", weight, step=epoch)
                if self.write_images:
                    self._log_weight_as_image(weight, f"{weight.path}/image", epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()  # the page updates live


class Summary:
    """The part of ``tensorflow.summary`` that the callback uses, with the same semantics: nothing is written without a
    default writer, or while ``record_if`` is False.
    """

    def __init__(self) -> None:
        self._writers: list[Any] = []
        self._conditions: list[Callable[[], bool]] = []

    def create_file_writer(self, folder: str) -> Writer:
        return Writer(self._writers, folder)

    @contextmanager
    def record_if(self, condition: Callable[[], bool]) -> Iterator[None]:
        self._conditions.append(condition)
        try:
            yield
        finally:
            self._conditions.pop()

    def scalar(self, tag: str, value: Any, step: Any) -> None:
        if writer := self._writer():
            writer.add_scalar(tag, float(array(value)), int(array(step)))

    def histogram(self, tag: str, value: Any, step: Any) -> None:
        if not (writer := self._writer()):
            return
        flat = array(value).astype(np.float64).reshape(-1)
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        counts, edges = np.histogram(flat, BUCKETS)
        writer.add_histogram_raw(
            tag,
            min=float(flat.min()),
            max=float(flat.max()),
            num=flat.size,
            sum=float(flat.sum()),
            sum_squares=float(np.square(flat).sum()),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=int(array(step)),
        )

    def image(self, tag: str, value: Any, step: Any) -> None:
        """Write the first three images of ``value`` [n, h, w, c] in 0 to 1, like the original."""
        if writer := self._writer():
            writer.add_images(tag, array(value)[:3].clip(0, 1), int(array(step)), dataformats="NHWC")

    def keras_model(self, tag: str, model: keras.Model, step: int) -> None:
        """Write the model's layers for the Graphs tab."""
        from tensorboard.compat.proto.summary_pb2 import Summary as Proto
        from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
        from tensorboard.util.tensor_util import make_tensor_proto

        if not (writer := self._writer()):
            return
        kind = SummaryMetadata.PluginData(plugin_name="graph_keras_model", content=b"1")
        value = Proto.Value(
            tag=tag, metadata=SummaryMetadata(plugin_data=kind), tensor=make_tensor_proto(model.to_json().encode())
        )
        writer.file_writer.add_summary(Proto(value=[value]), step)

    def _writer(self) -> Any:
        return self._writers[-1] if self._writers and all(condition() for condition in self._conditions) else None


class Writer:
    """One event file. ``defaults`` is the stack of default writers; the top one is written to."""

    def __init__(self, defaults: list[Any], folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._defaults, self._writer = defaults, SummaryWriter(log_dir=folder)
        self.flush, self.close = self._writer.flush, self._writer.close

    @contextmanager
    def as_default(self, step: Any = None) -> Iterator[None]:
        self._defaults.append(self._writer)
        try:
            yield
        finally:
            self._defaults.pop()
