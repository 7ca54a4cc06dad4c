"""A file goes from one tab to another that can open it. Tabs do not know each other: they name kinds of files.

Beside a model may lie real inputs of it, in a file named ``SAMPLES``, and how its pictures become inputs, as JSON in one
named ``PREPROCESSING``. A tab that takes files has ``opens``, a list of Openers; one that has files to give has ``offers``,
a list of Offers. Once all tabs are built, ``connect`` puts each offer together with the first opener of its kind, or with
that of the tab it names.
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
    """``wire(after, files)`` has the tab open the paths (list of str) in the State ``files``; ``after`` is a listener.

    They are the giver's, who may remove them at any time after that: the tab copies what it wants to keep.
    """

    kind: str
    wire: Callable[[Any, gr.State], None]


@dataclass(slots=True)
class Offer:
    """A click on ``button`` offers what ``give`` makes of the value of ``source``: a list of paths.

    ``to`` is the slug of the tab that is to open them; "" for the first that can. ``taken`` says, once the page is
    built, whether anybody opens them; a button without a taker stays hidden.
    """

    kind: str
    button: gr.Button
    source: Component
    give: Callable[[Any], list[str]]
    to: str = ""
    taken: bool = False


def connect(parts: Iterable[tuple[str, Any]], frame: gr.Tabs | None) -> None:
    """``parts`` are the tabs with the ids under which they stand in ``frame``."""
    parts = list(parts)
    for _, giver in parts:
        for offer in getattr(giver, "offers", ()):
            for place, taker in parts:
                found = [one for one in getattr(taker, "opens", ()) if one.kind == offer.kind]
                if found and frame is not None and taker is not giver and offer.to in ("", place):
                    _wire(offer, found[0], place, frame)
                    break


def _wire(offer: Offer, opener: Opener, place: str, frame: gr.Tabs) -> None:
    offer.taken = True
    files = gr.State([])

    def give(value: Any) -> dict[Any, Any]:
        return {files: offer.give(value), frame: gr.Tabs(selected=place)}

    # a failure of give() (nothing to open any more) is said in place, and nothing follows it
    event = offer.button.click(
        give, offer.source, [files, frame], api_visibility="private", show_progress="hidden", concurrency_limit=None
    )
    opener.wire(event.success, files)
