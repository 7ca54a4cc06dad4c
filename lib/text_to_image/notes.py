"""What a visitor is told beside a picture, in plain sentences: what had no effect, and prompts that were cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.settings import EMBEDDED
from lib.text_to_image.prompts import known_words, syntax
from lib.text_to_image.prompts.count import of_pipeline

if TYPE_CHECKING:
    from lib.text_to_image.models import Model
    from lib.text_to_image.request import Request


def notes(model: Model, request: Request) -> list[str]:
    """Of a request that ``model`` drew; none for most."""
    found = model.family.notes(request) if model.family else []
    guided = model.rows(request) > 1
    for name, text in (("prompt", request.prompt), ("negative prompt", request.negative_prompt if guided else "")):
        tokens = of_pipeline(model.pipeline, text)
        if tokens is None:
            continue
        if tokens.cut:
            found.append(
                f"The {name} has {tokens.count} tokens and {model.name} reads {tokens.room}: "
                f"the end was left out, from “{tokens.cut}”."
            )
        if not tokens.chunks and any(weight != 1 for group in syntax.parse(text) for _, weight in group):
            found.append(f"{model.name} takes brackets of the {name} as text: its words cannot be weighted.")
    if model.name == EMBEDDED:
        found += known_words.notes(request.prompt)
    return found
