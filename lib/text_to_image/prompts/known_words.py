"""Notes on words of a prompt that the embedded model does not know and would silently ignore."""

from __future__ import annotations

import re

from lib.settings import EMBEDDED
from lib.text_to_image.prompts import syntax
from models.tiny_scenes.scenes import COLOURS, FILLERS, OBJECTS, PLACES, PREFIXES, SIZES, SUFFIXES, vocabulary

WORD = re.compile(r"\w+(?:['’-]\w+)*")
# Function words, which name nothing to draw.
STOP_WORDS = frozenset(
    WORD.findall("a an the and or of in on at by with near under among front from to for is are its it this")
)
SHOWN = 8


def notes(prompt: str) -> list[str]:
    """Return notes on a prompt; none if all words are known and it names exactly one object."""
    words = WORD.findall(syntax.plain(prompt).lower())
    text = f" {' '.join(words)} "
    objects = [name for name, phrases in OBJECTS.items() if any(f" {phrase} " in text for phrase in phrases)]
    unknown = [word for word in dict.fromkeys(words) if word not in KNOWN | STOP_WORDS]
    if not any(word in ASKING for word in words):
        return [f"{EMBEDDED} knows none of the words that say what to draw{_list(unknown)}. {DRAWS}"]
    messages = []
    if not objects:
        messages.append(f"The prompt names nothing that {EMBEDDED} can draw{_list(unknown)}. {DRAWS}")
    elif unknown:
        messages.append(f"{EMBEDDED} ignores words that it does not know{_list(unknown)}.")
    if len(objects) > 1:
        messages.append(f"{EMBEDDED} draws one object per picture; the prompt names {len(objects)}: {', '.join(objects)}.")
    return messages


def _list(words: list[str]) -> str:
    hidden_count = len(words) - SHOWN
    return (": " + ", ".join(words[:SHOWN]) + (f" and {hidden_count} more" if hidden_count > 0 else "")) if words else ""


def _words(*tables: object) -> frozenset[str]:
    phrases = [p for table in tables for p in (sum(table.values(), ()) if isinstance(table, dict) else table)]
    return frozenset(WORD.findall(" ".join(phrases)))


KNOWN = _words(vocabulary())
# The known words that name an object, colour, size or place, unlike "a photo of".
ASKING = _words(OBJECTS, COLOURS, PLACES, SIZES) - _words(PREFIXES, FILLERS, SUFFIXES) - STOP_WORDS
DRAWS = (
    f"It draws one of {len(OBJECTS)} objects ({', '.join(OBJECTS)}) "
    f"in one of {len(COLOURS)} colours ({', '.join(COLOURS)}) "
    f"at one of {len(PLACES)} places ({', '.join(phrases[0] for phrases in PLACES.values())}), and nothing else."
)
