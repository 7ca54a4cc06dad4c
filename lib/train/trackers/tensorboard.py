"""Writes TensorBoard event files with torch's SummaryWriter. One file per session, in the run's folder.

Implementation notes:
- A session after a kill hides the later values of the previous one with a purge mark at its first step. TensorBoard takes
  the first mark that it finds as the start, so every session writes one.
- The writer's thread flushes every second, so the page updates live even while nothing is logged.
- Everything goes into that file: TensorBoard reads event files in order and never returns to an earlier one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.train.trackers.registry import register
from lib.train.trackers.values import Embeddings, Graph, Histogram, HyperParameters, Picture, PrecisionRecall, Text, number

FLUSH_SECONDS = 1
QUEUE = 1000  # pending events before ``log`` blocks
DIMENSIONS = 64  # of embeddings, which are stored as text: 1,280 columns take megabytes per run
SPRITES_SIDE = 8192  # maximum side of the projector's sprite image in pixels

log = logging.getLogger(__name__)


@register("tensorboard")
def open_tensorboard(folder: Path, run: str, first_step: int) -> TensorBoard:
    return TensorBoard(folder, first_step)


class TensorBoard:
    """A run is named after its folder, as usual in TensorBoard."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(log_dir=str(folder), purge_step=first_step, max_queue=QUEUE, flush_secs=FLUSH_SECONDS)
        self._closed = False
        self._kinds = {
            Histogram: self._histogram,
            Picture: self._picture,
            Text: self._text,
            Graph: self._graph,
            Embeddings: self._embeddings,
            PrecisionRecall: self._precision_recall,
            HyperParameters: self._hyper_parameters,
        }

    def log(self, values: Mapping[str, Any], step: int) -> None:
        for tag, value in values.items():
            if (write := self._kinds.get(type(value))) is not None:
                write(tag, value, step)
            else:
                self._writer.add_scalar(tag, number(tag, value), step)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._writer.close()

    def _histogram(self, tag: str, value: Histogram, step: int) -> None:
        if not value.number:
            return
        # add_histogram sorts the values into its own 1,500 bins, which is ten times slower
        self._writer.add_histogram_raw(
            tag,
            min=value.minimum,
            max=value.maximum,
            num=value.number,
            sum=value.total,
            sum_squares=value.squares,
            bucket_limits=list(value.edges[1:]),
            bucket_counts=list(value.counts),
            global_step=step,
        )

    def _picture(self, tag: str, value: Picture, step: int) -> None:
        self._writer.add_image(tag, value.pixels, step, dataformats="HWC")

    def _text(self, tag: str, value: Text, step: int) -> None:
        self._writer.add_text(tag, value.markdown, step)

    def _precision_recall(self, tag: str, value: PrecisionRecall, step: int) -> None:
        if len(value.scores):
            self._writer.add_pr_curve(tag, value.labels.astype(bool), value.scores.astype(np.float64), step)

    def _graph(self, tag: str, value: Graph, step: int) -> None:
        """Trace and write the graph, once per run, since TensorBoard keeps the last. A failed trace only logs a warning."""
        import torch

        # add_graph leaves every submodule in training mode, even frozen BatchNorm
        modes = [(part, part.training) for part in value.module.modules()]
        value.module.eval()
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = torch.jit.trace(value.module, value.example, check_trace=False)
                self._writer.add_graph(traced, value.example)
        except Exception as error:
            log.warning("The model's graph is not shown: %s", error)
        finally:
            for part, training in modes:
                part.training = training

    def _embeddings(self, tag: str, value: Embeddings, step: int) -> None:
        if len(value.vectors) < 2:
            return
        labels = [" ".join(label.split()) or "-" for label in value.labels]  # a tab would start a new column
        sprites = value.sprites
        if sprites is not None:
            side = SPRITES_SIDE // int(np.ceil(np.sqrt(len(sprites))))
            stride = -(-sprites.shape[1] // side)
            sprites = sprites[:, ::stride, ::stride].transpose(0, 3, 1, 2)
            sprites = sprites.astype(np.float32) / 255
            import torch

            sprites = torch.from_numpy(sprites)  # the writer calls its size()
        self._writer.add_embedding(reduced(value.vectors), labels, sprites, step, tag)

    def _hyper_parameters(self, tag: str, value: HyperParameters, step: int) -> None:
        """Write to this run's file: ``add_hparams`` would create another file or run."""
        from torch.utils.tensorboard.summary import hparams

        results = {name: number(name, result) for name, result in value.results.items()}
        experiment, start, end = hparams({k: plain(v) for k, v in value.values.items()}, results)
        # The first run with an experiment summary defines the table's columns, so only runs with results write one.
        for summary in (experiment, start, end) if results else (start,):
            self._writer.file_writer.add_summary(summary, step)
        for name, result in results.items():
            self._writer.add_scalar(name, result, step)


def plain(value: Any) -> float | str:
    """Returns the value as a number or a string, as TensorBoard's hyperparameter table requires."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return str(value)


def reduced(vectors: np.ndarray, dimensions: int = DIMENSIONS) -> np.ndarray:
    """Project ``vectors`` [n, d] to their first principal components: float64 [n, min(d, ``dimensions``)], 5 digits.

    Centred; distances are preserved as far as possible. Vectors with no more dimensions than that are only rounded.
    """
    matrix = np.nan_to_num(np.asarray(vectors, np.float64))
    if matrix.shape[1] > dimensions:
        matrix = matrix - matrix.mean(0)
        u, s, _ = np.linalg.svd(matrix, full_matrices=False)
        matrix = u[:, :dimensions] * s[:dimensions]
    largest = float(np.abs(matrix).max(initial=0))
    return np.round(matrix, 4 - int(np.floor(np.log10(largest)))) if largest else matrix
