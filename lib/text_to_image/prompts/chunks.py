"""Split a prompt into chunks of a CLIP encoder's length: 75 tokens between start and end token, as A1111's web UI does.

Returns token ids as numbers; tensors are made in ``embed.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.text_to_image.prompts.syntax import parse

# Each chunk adds 77 tokens to every cross attention, and 2,000 characters can be 8,000 tokens.
MAX_CHUNKS = 8
# A full chunk ends at a comma among the last 20 of its 75 tokens, if there is one, to keep phrases together.
COMMA_BACK, OF = 20, 75
SHOWN = 60  # characters shown of the text that was cut

Token = tuple[int, float]  # id and weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """``ids`` and ``weights`` have the encoder's length, with weight 1 for special tokens. ``used``: tokens of the text."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A tokenized prompt. ``count``: its tokens; ``room``: tokens that are read; ``cut``: the text beyond that."""

    chunks: tuple[Chunk, ...]
    count: int
    room: int
    cut: str

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON. ``chunks`` is 1 for an encoder without chunks."""
        return {"tokens": self.count, "room": self.room, "chunks": len(self.chunks) or 1, "cut": self.cut}


def tokenize(tokenizer: Any, text: str) -> Tokens:
    """Tokenize a prompt into chunks. ``tokenizer``: a CLIPTokenizer with the encoder's ``model_max_length``."""
    room = tokenizer.model_max_length - 2
    pieces: list[list[Token]] = []
    for group in parse(text):
        pieces += _pieces([token for part in group for token in _tokens(tokenizer, *part)], room, _comma(tokenizer))
    left_out = [number for piece in pieces[MAX_CHUNKS:] for number, _ in piece]
    kept = pieces[:MAX_CHUNKS]
    return Tokens(
        chunks=tuple(_chunk(tokenizer, piece, room) for piece in kept),
        count=sum(map(len, pieces)),
        room=room * len(kept),
        cut=tokenizer.decode(left_out).strip()[:SHOWN] if left_out else "",
    )


def tokenize_truncated(tokenizer: Any, text: str, length: int) -> Tokens:
    """Tokenize a prompt for an encoder that reads at most ``length`` tokens, including the end token.

    There are no chunks, and brackets are plain text.
    """
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    room = length - tokenizer.num_special_tokens_to_add()
    cut = tokenizer.decode(ids[room:]).strip()[:SHOWN] if len(ids) > room else ""
    return Tokens(chunks=(), count=len(ids), room=room, cut=cut)


def _tokens(tokenizer: Any, words: str, weight: float) -> list[Token]:
    return [(number, weight) for number in tokenizer(words, add_special_tokens=False, verbose=False).input_ids]


def _comma(tokenizer: Any) -> int:
    """Return the token of a comma, or the unknown token if the vocabulary has none."""
    return tokenizer.convert_tokens_to_ids(",</w>")


def _pieces(tokens: list[Token], room: int, comma: int) -> list[list[Token]]:
    """Split tokens into pieces of at most ``room`` tokens. Returns at least one piece."""
    pieces = []
    while len(tokens) > room:
        nearest = range(room, room - room * COMMA_BACK // OF, -1)
        end = room if tokens[room][0] == comma else next((n for n in nearest if tokens[n - 1][0] == comma), room)
        pieces.append(tokens[:end])
        tokens = tokens[end:]
    return [*pieces, tokens]


def _chunk(tokenizer: Any, piece: list[Token], room: int) -> Chunk:
    padding = room - len(piece)
    ids = (tokenizer.bos_token_id, *(n for n, _ in piece), tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding)
    return Chunk(ids=ids, weights=(1.0, *(w for _, w in piece), 1.0, *[1.0] * padding), used=len(piece))
