"""Notes beside a picture, in sentences: options without effect, and prompts that were truncated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.settings import EMBEDDED
from lib.text_to_image.prompts import known_words, syntax
from lib.text_to_image.prompts.count import count_tokens

if TYPE_CHECKING:
    from lib.text_to_image.models import Model
    from lib.text_to_image.request import Request


def notes(model: Model, request: Request) -> list[str]:
    """The notes for a request; most have none."""
    found = model.family.notes(request) if model.family else []
    guided = model.rows(request) > 1
    for name, text in (("prompt", request.prompt), ("negative prompt", request.negative_prompt if guided else "")):
        tokens = count_tokens(model.pipeline, text)
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
