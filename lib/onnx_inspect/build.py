"""ONNX text to a model and back (the syntax of onnx.parser and onnx.printer)."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, parser, printer

from lib.errors import InvalidFile
from lib.onnx_model.open import Model, byte_size, tensors
from lib.onnx_model.words import clean
from lib.reports.words import size

MAX_TEXT = 200_000  # characters
MAX_DEPTH = 200  # brackets in brackets: onnx's parser runs out of stack somewhere above 3,000
MAX_SHOWN = 64_000  # bytes of weights in a model that is shown as text
MAX_ANSWER = 2_000_000  # characters of that text


def parse(text: str, path: Path) -> Path:
    """Writes the model that ``text`` describes to ``path``. Raises InvalidFile with the line and column."""
    if len(text) > MAX_TEXT:
        raise InvalidFile(
            f"The text has {len(text):,} characters; at most {MAX_TEXT:,} are parsed. Upload the .onnx file instead."
        )
    if not text.strip():
        raise InvalidFile('There is no text. A model begins like <ir_version: 10, opset_import: ["" : 20]>.')
    if _depth(text) > MAX_DEPTH:
        raise InvalidFile(f"Syntax error in the ONNX text: its brackets nest over {MAX_DEPTH} deep.")
    try:
        model = parser.parse_model(text)
    except parser.ParseError as error:
        words = error.args[0] if error.args else ""
        words = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise InvalidFile(f"Syntax error in the ONNX text{_where(words)}") from None
    except DecodeError:
        raise InvalidFile("Syntax error in the ONNX text: it describes messages that nest over 100 deep.") from None
    except IndexError:  # C++'s out_of_range
        raise InvalidFile("Syntax error in the ONNX text: a number in it is too large.") from None
    except (UnicodeError, ValueError, TypeError):  # half a surrogate pair is a TypeError there
        raise InvalidFile("Syntax error in the ONNX text: it has characters that cannot be encoded.") from None
    path.write_bytes(model.SerializeToString())
    return path


def _where(words: str) -> str:
    """onnx's words as ``, line 1, column 88: what it expected``; as they are where they have no place."""
    text = " ".join(words.split())
    found = re.search(r"\(line: (\d+) column: (\d+)\)", text)
    if found is None:
        return f": {text[:400]}"
    rest = re.sub(r"^\[ParseError at position \(line: \d+ column: \d+\)\]\s*(Error context:.*?(?=Expected |$))?", "", text)
    return f", line {found[1]}, column {found[2]}: {rest[:400].rstrip('.') or 'not understood'}."


def _depth(text: str) -> int:
    """Of brackets, taken roughly: a string may hold some too."""
    deepest = depth = 0
    for c in re.findall(r"[(\[{<)\]}>]", text.replace("=>", "")):
        depth += 1 if c in "([{<" else -1
        deepest = max(deepest, depth)
    return deepest


def to_text(model: Model) -> str:
    """The model as ONNX text; raises InvalidFile for one with more than 64 kB of weights."""
    held = sum(max(byte_size(t), found.length if (found := model.payload(t)) else 0) for _, t in tensors(model.proto))
    if held > MAX_SHOWN:
        raise InvalidFile(f"The model holds {size(held)} of weights; up to {size(MAX_SHOWN)} are shown as text.")
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    for _, tensor in tensors(copy):
        if tensor.data_location == TensorProto.EXTERNAL:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(model.array(tensor), name))
    try:
        text = printer.to_text(copy)
    except MemoryError:
        raise
    except Exception as error:  # attributes of no type, strings that are no text …
        raise InvalidFile(f"onnx cannot write this model as text: {clean(str(error))}") from None
    if len(text) > MAX_ANSWER:
        raise InvalidFile(f"The text would have {len(text):,} characters; up to {MAX_ANSWER:,} are shown.")
    return text
