"""What the embedded model draws, and what of a prompt it does not know. It reads past such words and says nothing itself."""

from __future__ import annotations

import re

from lib.settings import EMBEDDED
from lib.text_to_image.prompts import syntax
from models.tiny_scenes.scenes import COLOURS, FILLERS, OBJECTS, PLACES, PREFIXES, SIZES, SUFFIXES, vocabulary

WORD = re.compile(r"\w+(?:['’-]\w+)*")
# They hold a phrase together and ask for nothing.
STOP_WORDS = frozenset(
    WORD.findall("a an the and or of in on at by with near under among front from to for is are its it this")
)
SHOWN = 8


def notes(prompt: str) -> list[str]:
    """Sentences for whoever wrote it; none where every word is known and one object is named."""
    words = WORD.findall(syntax.plain(prompt).lower())
    text = f" {' '.join(words)} "
    objects = [name for name, phrases in OBJECTS.items() if any(f" {phrase} " in text for phrase in phrases)]
    unknown = [word for word in dict.fromkeys(words) if word not in KNOWN | STOP_WORDS]
    if not any(word in ASKING for word in words):
        return [f"{EMBEDDED} knows none of the words that say what to draw{_list(unknown)}. {DRAWS}"]
    found = []
    if not objects:
        found.append(f"The prompt names nothing that {EMBEDDED} can draw{_list(unknown)}. {DRAWS}")
    elif unknown:
        found.append(f"{EMBEDDED} does not know, and reads past{_list(unknown)}.")
    if len(objects) > 1:
        found.append(f"{EMBEDDED} draws one object a picture; the prompt names {len(objects)}: {', '.join(objects)}.")
    return found


def _list(words: list[str]) -> str:
    more = len(words) - SHOWN
    return (": " + ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")) if words else ""


def _words(*tables: object) -> frozenset[str]:
    phrases = [p for table in tables for p in (sum(table.values(), ()) if isinstance(table, dict) else table)]
    return frozenset(WORD.findall(" ".join(phrases)))


KNOWN = _words(vocabulary())
# Of those, the ones that ask for a thing, a colour, a size or a place: "a photo of" asks for nothing.
ASKING = _words(OBJECTS, COLOURS, PLACES, SIZES) - _words(PREFIXES, FILLERS, SUFFIXES) - STOP_WORDS
DRAWS = (
    f"It draws one of {len(OBJECTS)} objects ({', '.join(OBJECTS)}) "
    f"in one of {len(COLOURS)} colours ({', '.join(COLOURS)}) "
    f"at one of {len(PLACES)} places ({', '.join(phrases[0] for phrases in PLACES.values())}), and nothing else."
)
