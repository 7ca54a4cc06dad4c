"""Terminal output of a training and an export; plain lines if there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from lib.jobs import Progress
from lib.train.backbones import BackboneWeights
from lib.train.edge import targets
from lib.train.edge.export_row import ExportRow
from lib.train.events import Built, Epoch, Event, Stage, Step


def show(events: Iterator[Event], main: bool = True) -> Iterator[Event]:
    """Pass events through and show a progress bar, or print a line per epoch if there is no terminal."""
    from tqdm import tqdm

    bar: Any = None
    for event in events:
        if main and isinstance(event, Step):
            bar = bar or tqdm(total=event.steps, initial=event.step - 1, unit="step", disable=None)
            bar.update(event.step - bar.n)
            bar.set_postfix_str(f"epoch {event.epoch}, loss {event.loss:.3f}, {event.pictures_per_second:.0f} pictures/s")
        elif main and isinstance(event, Epoch):
            figures = f"loss {event.train_loss:.3f}, validation {event.validation_loss:.3f}"
            tqdm.write(f"Epoch {event.epoch}: {figures}, {event.validation_accuracy:.1%} correct, {event.seconds:.1f} s")
        elif main and isinstance(event, Stage | Built) and not bar:
            print(event.words if isinstance(event, Stage) else _network(event.weights), file=sys.stderr)
        yield event
    if bar:
        bar.close()


def _network(weights: BackboneWeights) -> str:
    return f"{weights.parameters / 1e6:.1f} M parameters, {weights.source}"


class Stages:
    """A callback for an export's progress: prints a line to stderr whenever the stage changes."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._last:
            self._last = progress.stage
            print(progress.stage, file=sys.stderr)


def sentence(row: ExportRow) -> str:
    """Returns the measurements of an exported file as a sentence."""
    low, high = row.interval or (0.0, 1.0)
    parts = [f"{targets.find(row.target).title}, {row.megabytes or 0:.1f} MB"]
    parts.append(f"{row.accuracy or 0:.1%} of {row.count} {row.on} pictures (95 %: {low:.1%} to {high:.1%})")
    parts.append(f"same label as the trained network on {row.same_label or 0:.1%}")
    parts.append(f"{row.milliseconds or 0:.1f} ms per picture in {row.runtime} with {row.threads} threads")
    return "; ".join(parts + ["runs in MediaPipe"] * bool(row.mediapipe))
