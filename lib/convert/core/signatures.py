"""The chosen signature of a model with several, stored in a note next to the model for its runner and edges.

Without a note, a runner has the inputs and outputs of all signatures, named ``signature/name``. Independent of formats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.convert.core.option import Option
from lib.errors import InvalidValue
from lib.model_inputs.signature import DEFAULT, named

__all__ = ["DEFAULT", "NOTE", "OPTION", "SignatureChoice", "choose", "chosen", "named", "pick"]

NOTE = "signature.json"
OPTION = Option(name="signature", title="Signature, if the model has several", kind="text", default="")


@dataclass(slots=True)
class SignatureChoice:
    """A chosen signature. ``messages``: signatures left out by the visitor's choice; ``lost``: those left out by default."""

    key: str
    messages: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def as_answer(self) -> dict[str, Any]:
        return {"messages": self.messages, "lost": self.lost}


def choose(folder: Path, key: str) -> None:
    """Choose the signature of an artifact that is described, run and converted from now on, with unprefixed names."""
    (folder / NOTE).write_text(json.dumps({"signature": key}))


def chosen(folder: Path) -> str:
    """Return the signature set by ``choose``, or "" for all."""
    path = folder / NOTE
    return str(json.loads(path.read_text())["signature"]) if path.is_file() else ""


def pick(folder: Path, given: str, keys: list[str]) -> SignatureChoice:
    """Pick the signature to convert to a format that holds only one. ``given``: the visitor's choice, or "".

    The default is ``serving_default``, else the first signature; the others are then lost. The choice is stored in
    ``folder``, so that the proof uses the same one. Raises InvalidValue for an unknown signature.
    """
    if given and given not in keys:
        raise InvalidValue("signature", given, ", ".join(k[:80] for k in keys[:20]) or "none: the model has no signatures")
    if len(keys) < 2:
        return SignatureChoice(given or (keys[0] if keys else ""))
    key = given or chosen(folder) or (DEFAULT if DEFAULT in keys else keys[0])
    choose(folder, key)
    others = [k[:80] for k in keys if k != key][:20]
    if given:
        return SignatureChoice(
            key, [f"Only the signature {key[:80]!r} was converted, as requested; left out: {', '.join(others)}."]
        )
    return SignatureChoice(key, lost=[f"The signature {k!r} was left out; choose it with signature={k}." for k in others])
