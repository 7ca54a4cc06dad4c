"""Notes on a picture: options without effect, and truncated prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.settings import EMBEDDED
from lib.text_to_image.prompts import known_words, syntax
from lib.text_to_image.prompts.count import count_tokens

if TYPE_CHECKING:
    from lib.text_to_image.models import Model
    from lib.text_to_image.request import Request


def notes(model: Model, request: Request) -> list[str]:
    """Return the notes for a request; most have none."""
    messages = model.family.notes(request) if model.family else []
    guided = model.rows(request) > 1
    for name, text in (("prompt", request.prompt), ("negative prompt", request.negative_prompt if guided else "")):
        tokens = count_tokens(model.pipeline, text)
        if tokens is None:
            continue
        if tokens.cut:
            messages.append(
                f"The {name} has {tokens.count} tokens and {model.name} reads {tokens.room}: "
                f"the end was left out, from “{tokens.cut}”."
            )
        if not tokens.chunks and any(weight != 1 for group in syntax.parse(text) for _, weight in group):
            messages.append(f"{model.name} reads brackets in the {name} as text: its words cannot be weighted.")
    if model.name == EMBEDDED:
        messages += known_words.notes(request.prompt)
    return messages
