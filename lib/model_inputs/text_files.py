"""A text file as samples of token ids, a line a sample, by the tokenizer that the source brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InvalidFile, JobFailed
from lib.model_inputs import dimensions, fitting, made_up, sizes
from lib.model_inputs.signature import Signature, Value, dtype
from lib.settings import prepare_library

MAX_BYTES = 16 << 20
LONGEST = 512  # tokens of a line, where the model does not say
PADS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")
OLDER = (  # files of a tokenizer without a tokenizer.json
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
    ("sentencepiece.bpe.model",),
)
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def tokenizer_in(folder: Path) -> Path | None:
    """What ``read`` takes as a source's tokenizer: its tokenizer.json, or the folder of older files, or None."""
    for place in (folder, folder / "tokenizer"):
        if (place / "tokenizer.json").is_file():
            return place / "tokenizer.json"
        if any(all((place / name).is_file() for name in names) for names in OLDER):
            return place
    return None


def is_text(head: bytes) -> bool:
    """Whether a file may be text: no control characters but white space."""
    if head.startswith(UTF16):
        return True
    return bool(head) and not any(c < 32 and c not in b"\t\n\r\f\x1b" for c in head)


def lines(path: Path) -> list[str]:
    """Those that are not blank. UTF-8, or UTF-16 with its mark. Raises InvalidFile."""
    data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    if not data:
        raise InvalidFile(f"The text has more than {MAX_BYTES >> 20} MB. Send fewer lines.")
    try:
        text = data.decode("utf-16" if data.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise InvalidFile(f"The text is not UTF-8 (line {place}). Save it as UTF-8.") from None
    if "\0" in text:
        raise InvalidFile("The file contains zero bytes, so it is not text. Send a .txt, one sample per line.")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InvalidFile("The text has only blank lines. Send a .txt, one sample per line.")
    if len(found) > fitting.MAX_SAMPLES:
        raise InvalidFile(
            f"The text holds {len(found):,} lines; at most {fitting.MAX_SAMPLES:,} are allowed, one sample per line."
        )
    return found


def read(
    path: Path, signature: Signature, fixed: Mapping[str, int], tokenizer: Path | None
) -> tuple[list[dict[str, np.ndarray]], list[str]]:
    """(rows, messages). Raises InvalidFile."""
    ids = next((v for v in signature.inputs if _part(v) == "ids"), None)
    if ids is None:
        raise InvalidFile(
            f"A text was sent, but no input of this model takes token ids: "
            f"{fitting.inputs_text(signature)}. Send an .npz of arrays."
        )
    if tokenizer is None:
        raise InvalidFile(
            "A text needs the model's tokenizer, and this model's file has none. Send the whole folder with its "
            f"tokenizer.json, or an .npz with token ids: {fitting.inputs_text(signature)}."
        )
    texts = lines(path)
    encoded, pad = encode(tokenizer, texts)
    last = ids.shape[-1]
    length = last if isinstance(last, int) else fixed.get(last)
    most = length or LONGEST
    cut = sum(len(line) > most for line, _ in encoded)
    rows = [_row([part[:most] for part in line], length, pad, signature, ids, fixed) for line in encoded]
    top = max(int(row[ids.name].max()) for row in rows)
    if ids.high and top >= ids.high:
        raise InvalidFile(
            f"The tokenizer gives ids up to {top:,}, but the model has {ids.high:,} tokens: it is another model's tokenizer."
        )
    messages = [f"{len(rows):,} lines of text, {_span([row[ids.name].shape[-1] for row in rows])} tokens each."]
    if length:
        messages[0] = f"{len(rows):,} lines of text, padded to {length:,} tokens."
    if cut:
        messages.append(f"{cut:,} lines were cut after {most:,} tokens.")
    return rows, messages


def encode(tokenizer: Path, texts: list[str]) -> tuple[list[tuple[list[int], list[int]]], int]:
    """(ids, types) of every text, special tokens included, not padded; and the id of padding. Raises InvalidFile.

    A tokenizer.json is read by ``tokenizers``; other folders by transformers, which runs none of their code.
    """
    plain = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    prepare_library(TOKENIZERS_PARALLELISM="false")
    try:
        if plain.is_file():
            from tokenizers import Tokenizer

            held = Tokenizer.from_file(str(plain))
            pad = next((held.token_to_id(p) for p in PADS if held.token_to_id(p) is not None), 0)
            pad = held.padding["pad_id"] if held.padding else pad
            held.no_padding()
            held.no_truncation()
            return [(e.ids, e.type_ids) for e in held.encode_batch(texts)], pad
        return _by_transformers(tokenizer, texts)
    except ImportError:
        raise JobFailed("Texts are not supported for this kind of model. Send an .npz with token ids.") from None
    except Exception:  # of Rust, json and transformers: whatever a damaged file makes of them
        raise InvalidFile(
            "The model's tokenizer cannot be read: its files are damaged or missing. Send the whole folder."
        ) from None


def _by_transformers(folder: Path, texts: list[str]) -> tuple[list[tuple[list[int], list[int]]], int]:
    from transformers import AutoTokenizer

    held: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    found = held(texts, padding=False, truncation=False)
    types = found.get("token_type_ids") or [[0] * len(ids) for ids in found["input_ids"]]
    pad = held.pad_token_id if held.pad_token_id is not None else held.eos_token_id or 0
    return list(zip(found["input_ids"], types, strict=True)), int(pad)


def _part(value: Value) -> str:
    """ids, mask, types or positions; "" where the input is none of these."""
    told, kind = dimensions.words(value.name), dtype(value.dtype)
    if len(value.shape) not in (1, 2) or kind.kind not in "iufb":
        return ""
    if value.role == "mask" or "mask" in told:
        return "mask"
    if kind.kind not in "iu":
        return ""
    if value.role == "positions" or told & {"position", "positions"}:
        return "positions"
    if told & {"type", "segment"}:
        return "types"
    return "ids" if value.role == "tokens" or told & {"ids", "tokens", "token"} else ""


def _row(
    line: list[list[int]], length: int | None, pad: int, signature: Signature, ids: Value, fixed: Mapping[str, int]
) -> dict[str, np.ndarray]:
    own = len(line[0])
    whole = length or max(own, 1)
    numbers = {
        "ids": line[0] + [pad] * (whole - own),
        "mask": [1] * own + [0] * (whole - own),
        "types": line[1] + [0] * (whole - own),
        "positions": range(whole),
    }
    bound = sizes.propose(signature) | dict(fixed)
    shape = (*((1,) * (len(ids.shape) - 1)), whole)
    bound |= {d: n for d, n in zip(ids.shape, shape, strict=True) if isinstance(d, str)}
    beside = made_up.companions(signature, bound, {v.name for v in signature.inputs if _part(v)})
    out = {}
    for value in signature.inputs:
        part = _part(value)
        if not part:
            out[value.name] = beside[value.name]
            continue
        first = value.shape[0] if len(value.shape) == 2 and isinstance(value.shape[0], int) else 1
        one = np.array(numbers[part], dtype(value.dtype))
        out[value.name] = np.repeat(one[None], first, axis=0) if len(value.shape) == 2 else one
    return out


def _span(lengths: list[int]) -> str:
    return f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)} to {max(lengths)}"
