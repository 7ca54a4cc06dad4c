"""Parse emphasis in the syntax of A1111's web UI: a prompt becomes parts of text with weights.

``(word)`` has weight 1.1, ``((word))`` 1.21, ``[word]`` 1 / 1.1 and ``(word:1.3)`` 1.3. Nested brackets multiply, an
unclosed bracket extends to the end, and ``\\(`` is a literal bracket. ``BREAK`` starts a new chunk. Prompt editing
(``[a:b:0.5]``, ``[a|b]``) and ``AND`` are not supported: they are read as plain text.
"""

from __future__ import annotations

import math
import re

from lib.errors import InvalidValue

ROUND, SQUARE = 1.1, 1 / 1.1
MAX_WEIGHT = 10.0
PIECE = re.compile(r"\\[()\[\]\\]?|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]:]|[^\\()\[\]:]+")
BREAK = re.compile(r"\s*\bBREAK\b\s*")
KIND = {")": "(", "]": "["}

Part = tuple[str, float]  # text and its weight


def parse(text: str, field: str = "prompt") -> list[list[Part]]:
    """Parse ``text`` into groups of parts, separated by BREAK. There is at least one; equal neighbours are merged.

    Raises InvalidValue for ``field`` if the absolute value of a weight exceeds ``MAX_WEIGHT``.
    """
    opened: list[tuple[str, list[float]]] = []  # open brackets with their factors, which the closing bracket may change
    groups: list[list[tuple[str, list[list[float]]]]] = [[]]

    def add(words: str) -> None:
        groups[-1].append((words, [factor for _, factor in opened]))

    for match in PIECE.finditer(text):
        piece, weight = match.group(), match.group(1)
        kind = "(" if weight else KIND.get(piece)
        opening = next((k for k in reversed(range(len(opened))) if opened[k][0] == kind), None)
        if piece.startswith("\\"):
            add(piece[1:])
        elif piece in ("(", "["):
            opened.append((piece, [ROUND if piece == "(" else SQUARE]))
        elif opening is not None:
            factor = opened.pop(opening)[1]
            factor[0] = float(weight) if weight else factor[0]
        else:
            first, *others = BREAK.split(piece)
            add(first)
            for words in others:
                groups.append([])
                add(words)
    return [_joined(group, field) for group in groups]


def plain(text: str) -> str:
    """Return the text without emphasis."""
    return " ".join("".join(part for part, _ in group) for group in parse(text))


def _joined(group: list[tuple[str, list[list[float]]]], field: str) -> list[Part]:
    parts: list[Part] = []
    for words, factors in group:
        # from the inside out, as in A1111, so that equal weights round equally
        weight = math.prod(factor[0] for factor in reversed(factors))
        if not abs(weight) <= MAX_WEIGHT:
            raise InvalidValue(field, f"({words}:{weight:.4g})", f"weights of words from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}")
        if parts and parts[-1][1] == weight:
            parts[-1] = (parts[-1][0] + words, weight)
        elif words:
            parts.append((words, weight))
    return parts or [("", 1.0)]
