"""Convert ONNX text to a model and back, in the syntax of onnx.parser and onnx.printer."""

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
MAX_DEPTH = 200  # nested brackets; onnx's parser overflows the stack somewhere above 3,000
MAX_SHOWN = 64_000  # bytes of weights in a model that is shown as text
MAX_ANSWER = 2_000_000  # characters of that text


def parse(text: str, path: Path) -> Path:
    """Parse ``text`` and write the model to ``path``, which is returned. Raises InvalidFile with the line and column."""
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
        message = error.args[0] if error.args else ""
        message = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
        raise InvalidFile(f"Syntax error in the ONNX text{_where(message)}") from None
    except DecodeError:
        raise InvalidFile("Syntax error in the ONNX text: it describes messages that nest over 100 deep.") from None
    except IndexError:  # std::out_of_range in onnx's parser
        raise InvalidFile("Syntax error in the ONNX text: a number in it is too large.") from None
    except (UnicodeError, ValueError, TypeError):  # onnx raises TypeError for a lone surrogate
        raise InvalidFile("Syntax error in the ONNX text: it has characters that cannot be encoded.") from None
    path.write_bytes(model.SerializeToString())
    return path


def _where(words: str) -> str:
    """Shorten onnx's message to ``, line 1, column 88: what it expected``. Without a position, it is kept as it is."""
    text = " ".join(words.split())
    position = re.search(r"\(line: (\d+) column: (\d+)\)", text)
    if position is None:
        return f": {text[:400]}"
    rest = re.sub(r"^\[ParseError at position \(line: \d+ column: \d+\)\]\s*(Error context:.*?(?=Expected |$))?", "", text)
    return f", line {position[1]}, column {position[2]}: {rest[:400].rstrip('.') or 'not understood'}."


def _depth(text: str) -> int:
    """Return the nesting depth of brackets. Approximate, as brackets inside strings count too."""
    deepest = depth = 0
    for c in re.findall(r"[(\[{<)\]}>]", text.replace("=>", "")):
        depth += 1 if c in "([{<" else -1
        deepest = max(deepest, depth)
    return deepest


def to_text(model: Model) -> str:
    """Return the model as ONNX text. Raises InvalidFile for more than 64 kB of weights or a malformed model."""
    weight_bytes = sum(
        max(byte_size(t), payload.length if (payload := model.payload(t)) else 0) for _, t in tensors(model.proto)
    )
    if weight_bytes > MAX_SHOWN:
        raise InvalidFile(f"The model holds {size(weight_bytes)} of weights; up to {size(MAX_SHOWN)} are shown as text.")
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
    except Exception as error:  # attributes without a type, undecodable strings …
        raise InvalidFile(f"onnx cannot write this model as text: {clean(str(error))}") from None
    if len(text) > MAX_ANSWER:
        raise InvalidFile(f"The text would have {len(text):,} characters; up to {MAX_ANSWER:,} are shown.")
    return text
