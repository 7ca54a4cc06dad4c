"""TensorBoard's event files, over torch's SummaryWriter. One file a session, in the run's folder.

Three things that are not obvious:
- A second session (after a kill) hides the first one's later values by a mark with its first step.
  TensorBoard takes the first mark that it meets for the start, so every session writes one.
- The writer's own thread writes to the disk every second: the page is live, also while nothing is
  logged for a while.
- Everything goes into that one file: a reader that has gone on to a newer file never looks back.
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
QUEUE = 1000  # events that may wait for the disk before ``log`` waits
DIMENSIONS = 64  # of an embedding: it is stored as text, and 1,280 columns are megabytes a run
SPRITES_SIDE = 8192  # what the projector's page takes

log = logging.getLogger(__name__)


@register("tensorboard")
def open_tensorboard(folder: Path, run: str, first_step: int) -> TensorBoard:
    return TensorBoard(folder, first_step)


class TensorBoard:
    """A run's name is its folder's, as TensorBoard has it."""

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
        # add_histogram sorts every value into 1,500 bins of its own: ten times slower
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
        """Once a run: TensorBoard keeps the last one. A module that cannot be traced is no reason to end a training."""
        import torch

        # add_graph puts every part of the module into training at the end, frozen BatchNorm as well
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
        labels = [" ".join(label.split()) or "-" for label in value.labels]  # a tab would be a new column
        sprites = value.sprites
        if sprites is not None:
            side = SPRITES_SIDE // int(np.ceil(np.sqrt(len(sprites))))
            every = -(-sprites.shape[1] // side)
            sprites = sprites[:, ::every, ::every].transpose(0, 3, 1, 2)
            sprites = sprites.astype(np.float32) / 255
            import torch

            sprites = torch.from_numpy(sprites)  # the writer asks for its size()
        self._writer.add_embedding(reduced(value.vectors), labels, sprites, step, tag)

    def _hyper_parameters(self, tag: str, value: HyperParameters, step: int) -> None:
        """Into this run's file: ``add_hparams`` would open a file, or a run, of its own."""
        from torch.utils.tensorboard.summary import hparams

        results = {name: number(name, result) for name, result in value.results.items()}
        experiment, start, end = hparams({k: plain(v) for k, v in value.values.items()}, results)
        # The first run with an experiment says which columns the table of all runs has: one that knows its results.
        for summary in (experiment, start, end) if results else (start,):
            self._writer.file_writer.add_summary(summary, step)
        for name, result in results.items():
            self._writer.add_scalar(name, result, step)


def plain(value: Any) -> float | str:
    """As TensorBoard's table of hyperparameters has it: a number or a word."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return str(value)


def reduced(vectors: np.ndarray, dimensions: int = DIMENSIONS) -> np.ndarray:
    """``vectors`` [n, d] on their first principal components: float64 [n, min(d, ``dimensions``)], in five figures.

    Centred, distances kept as far as so many components can. Fewer dimensions than that stay as they are.
    """
    matrix = np.nan_to_num(np.asarray(vectors, np.float64))
    if matrix.shape[1] > dimensions:
        matrix = matrix - matrix.mean(0)
        u, s, _ = np.linalg.svd(matrix, full_matrices=False)
        matrix = u[:, :dimensions] * s[:dimensions]
    largest = float(np.abs(matrix).max(initial=0))
    return np.round(matrix, 4 - int(np.floor(np.log10(largest)))) if largest else matrix
