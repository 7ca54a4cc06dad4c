"""Shared data of the clients of ``soak.py``: the requests, the expected responses, and the failures."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

PATIENCE = 240.0  # seconds until a request counts as unanswered
SLOW = {"timeout": PATIENCE}  # gradio_client's 5 seconds may be too short for the page's config on a busy machine
NEAR = 2  # of 255: rounding differences of batched pictures
FAR = 40  # of 255: minimum difference between two references at some pixel
PICTURES = [
    {"prompt": prompt, "steps": steps, "seed": seed, "scheduler": scheduler}
    for prompt, steps, seed, scheduler in (
        ("a red car on a track", 6, 1, "DPM++ 2M"),
        ("a blue house under the moon", 8, 2, "Euler"),
        ("a green tree", 4, 3, "DDIM"),
        ("a yellow boat on the sea", 10, 4, "UniPC"),
        ("two white birds", 6, 5, "Euler a"),
    )
]
MODELS = ("linear", "digits")
TRAINING = {"dataset": "digits", "technique": "feature_extraction", "epochs": 2, "image_size": 32, "seed": 1}
# Number of clients of each kind among 64; each sends one request after another.
KINDS = {
    "rest": 20, "rest that leaves": 8, "page": 4, "page that stops": 4, "gradio": 6, "gradio that cancels": 4,
    "inspect": 10, "wrong": 2, "convert": 3, "train": 1, "probe": 2,
}  # fmt: skip


@dataclass
class Soak:
    """``until`` is the time after which clients send no new requests; ``known`` maps requests to their responses."""

    address: str
    until: float = 0.0
    known: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def counted(self) -> dict[str, dict[str, int]]:
        return {kind: dict(counts) for kind, counts in self.counts.items()}

    def check(self, kind: str, right: bool, words: str) -> str:
        if not right:
            self.faults.append((kind, words))
        return "right" if right else "wrong"


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def name_of(question: dict[str, Any]) -> str:
    return json.dumps(question, sort_keys=True)


def same(soak: Soak, question: dict[str, Any], data: bytes) -> bool:
    actual, expected = pixels(data), soak.known[name_of(question)]
    return actual.shape == expected.shape and int(np.abs(actual - expected).max()) <= NEAR
