"""How many tokens a prompt has, of how many that the model reads: of a loaded model, or of one whose files are here."""

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
# By diffusers' class of pipeline: its largest encoder's tokenizer, or else the next one, and the tokens that are read.
TOKENIZERS: dict[str, tuple[tuple[str, int], ...]] = {
    "StableDiffusionPipeline": (("tokenizer", CHUNKS),),
    "StableDiffusionXLPipeline": (("tokenizer", CHUNKS), ("tokenizer_2", CHUNKS)),
    "StableDiffusion3Pipeline": (("tokenizer_3", 256), ("tokenizer", 77)),
    "FluxPipeline": (("tokenizer_2", 512),),
}


def count_tokens(pipeline: Any, text: str) -> Tokens | None:
    """None for a kind of pipeline whose prompts are not known here."""
    for name, room in TOKENIZERS.get(type(pipeline).__name__, ()):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is not None:
            return _count(tokenizer, room, text)
    return None


class TokenCounter:
    """For the page, which may count while the model draws, or while it is loaded elsewhere: with tokenizers of its own."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._tokenizers: dict[str, tuple[Any, int]] = {}
        self._lock = threading.Lock()  # a tokenizer is used by one thread at a time

    def count(self, model: str, text: str) -> Tokens:
        """``model`` is a name from the catalogue, "" for the default. Raises InvalidValue for another one and for
        emphasis that is refused, ModelUnavailable where the model's tokenizer is not here (yet)."""
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
        raise ModelUnavailable(f"The tokens of {name} cannot be counted: its tokenizer is not here, or of an unknown kind.")


def _count(tokenizer: Any, room: int, text: str) -> Tokens:
    return tokenize_truncated(tokenizer, text, room) if room else tokenize(tokenizer, text)
