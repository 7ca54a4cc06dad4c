"""Count the tokens of a prompt and how many the model reads, for a loaded model or from the model's files."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from lib.errors import ModelUnavailable
from lib.text_to_image import model_files
from lib.text_to_image.prompts.chunks import Tokens, tokenize, tokenize_truncated

if TYPE_CHECKING:
    from lib.text_to_image.models import Catalogue

CHUNKS = 0
# By diffusers pipeline class: tokenizers in order of preference, with the number of tokens that are read.
TOKENIZERS: dict[str, tuple[tuple[str, int], ...]] = {
    "StableDiffusionPipeline": (("tokenizer", CHUNKS),),
    "StableDiffusionXLPipeline": (("tokenizer", CHUNKS), ("tokenizer_2", CHUNKS)),
    "StableDiffusion3Pipeline": (("tokenizer_3", 256), ("tokenizer", 77)),
    "FluxPipeline": (("tokenizer_2", 512),),
}


def count_tokens(pipeline: Any, text: str) -> Tokens | None:
    """Tokenize a prompt for a pipeline. Returns None for an unknown kind of pipeline."""
    for name, room in TOKENIZERS.get(type(pipeline).__name__, ()):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is not None:
            return _count(tokenizer, room, text)
    return None


class TokenCounter:
    """Counts tokens with its own tokenizers, so that the page can count while a model is busy or loaded elsewhere."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._tokenizers: dict[str, tuple[Any, int]] = {}
        self._lock = threading.Lock()  # tokenizers are not thread-safe

    def count(self, model: str, text: str) -> Tokens:
        """Tokenize a prompt. ``model``: a name from the catalogue, "" for the default. Raises InvalidValue for an unknown
        model or invalid emphasis, and ModelUnavailable if the model's tokenizer is not downloaded (yet)."""
        name = self._catalogue.choose(model).name
        with self._lock:
            if name not in self._tokenizers:
                self._tokenizers[name] = self._load(name)
            return _count(*self._tokenizers[name], text)

    def _load(self, name: str) -> tuple[Any, int]:
        from transformers import AutoTokenizer

        home = model_files.local_folder(self._catalogue.sources[name])
        kind = json.loads((home / "model_index.json").read_text())["_class_name"] if home else ""
        for part, room in TOKENIZERS.get(kind, ()):
            if home and (home / part).is_dir():
                return AutoTokenizer.from_pretrained(home / part, local_files_only=True), room
        raise ModelUnavailable(f"The tokens of {name} cannot be counted: its tokenizer is missing or of an unknown kind.")


def _count(tokenizer: Any, room: int, text: str) -> Tokens:
    return tokenize_truncated(tokenizer, text, room) if room else tokenize(tokenizer, text)
