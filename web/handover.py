"""Hands files from one tab to another that can open them. Tabs do not know each other, only kinds of files.

A model may come with sample inputs in a file named ``SAMPLES``, and with its image preprocessing as JSON in a file
named ``PREPROCESSING``. A tab that accepts files has ``opens``, a list of Openers; a tab that provides files has
``offers``, a list of Offers. Once all tabs are built, ``connect`` connects each Offer with the first Opener of its
kind, or with that of the tab it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

SAMPLES, PREPROCESSING = "samples.zip", "preprocessing.json"


@dataclass(slots=True)
class Opener:
    """A tab's ability to open files of a kind.

    ``wire(after, files)`` makes the tab open the paths (list of str) in the State ``files`` after the event ``after``.
    The offering tab owns the files and may remove them at any time afterwards, so the opening tab copies what it
    keeps.
    """

    kind: str
    wire: Callable[[Any, gr.State], None]


@dataclass(slots=True)
class Offer:
    """A click on ``button`` offers the list of paths that ``give`` returns for the value of ``source``.

    ``to`` is the slug of the target tab, "" for the first that accepts the kind. ``taken`` is set once the page is
    built: whether some tab accepts the files. The button stays hidden otherwise.
    """

    kind: str
    button: gr.Button
    source: Component
    give: Callable[[Any], list[str]]
    to: str = ""
    taken: bool = False


def connect(parts: Iterable[tuple[str, Any]], frame: gr.Tabs | None) -> None:
    """``parts`` are (id in ``frame``, tab) pairs."""
    parts = list(parts)
    for _, giver in parts:
        for offer in getattr(giver, "offers", ()):
            for place, taker in parts:
                openers = [opener for opener in getattr(taker, "opens", ()) if opener.kind == offer.kind]
                if openers and frame is not None and taker is not giver and offer.to in ("", place):
                    _wire(offer, openers[0], place, frame)
                    break


def _wire(offer: Offer, opener: Opener, place: str, frame: gr.Tabs) -> None:
    offer.taken = True
    files = gr.State([])

    def give(value: Any) -> dict[Any, Any]:
        return {files: offer.give(value), frame: gr.Tabs(selected=place)}

    # if give() fails (the files are gone), the error is shown here and the success event does not fire
    event = offer.button.click(
        give, offer.source, [files, frame], api_visibility="private", show_progress="hidden", concurrency_limit=None
    )
    opener.wire(event.success, files)
