"""Reads an ONNX file's structure and leaves its weights where they are.

``skeleton`` walks the protobuf encoding of a ModelProto (onnx.proto of onnx 1.23; wire format:
protobuf.dev/programming-guides/encoding) and copies everything except the big payloads of tensors. A
tensor without its payload becomes a reference to external data in a file called ``MARK-<field>``, with
the payload's offset and length in the original file. So the skeleton is an ordinary ModelProto whose
weights can be found again, and a 1 GB model costs as much memory as its graph.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lib.errors import InvalidFile

# An uploaded model cannot know this name, so it cannot pretend to have been made here.
MARK = f"inline-{secrets.token_hex(8)}"
INLINE = 1024  # bytes; a smaller payload stays: shape inference wants the values of small constants
MAX_SKELETON = 512 << 20  # bytes
MAX_HEAD = 20  # bytes of a field's tag and size, two numbers of 10 at most
MAX_DEPTH = 100  # messages in messages, as protobuf itself has it

# Field numbers under which a message holds messages that may hold tensors.
HOLDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
# float_data, int32_data, string_data is repeated and stays, int64_data, raw_data, double_data, uint64_data
PAYLOADS = {4, 5, 7, 9, 10, 11}


def skeleton(path: Path) -> bytes:
    """The serialized ModelProto without tensor payloads over ``INLINE`` bytes.

    Raises InvalidFile where the bytes are no protobuf message, end too early, or nest too deep.
    """
    with path.open("rb") as file:
        # headers by pread: a mapping's pages would count as this process' memory, up to the whole file
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise InvalidFile("The file is empty. An ONNX model was expected.")
        out = _strip(file.fileno(), 0, size, "model", 0)
    if len(out) > MAX_SKELETON:
        raise InvalidFile(f"The graph without its weights exceeds the limit of {MAX_SKELETON >> 20} MB.")
    return out


def _strip(file: int, start: int, end: int, kind: str, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise InvalidFile(f"This is not an ONNX file: its messages nest over {MAX_DEPTH} deep, more than protobuf allows.")
    holds, parts, values = HOLDS[kind], [], 0
    kept = at = start  # kept: where the run that is copied as it is begins
    while at < end:
        field_start = at
        head = os.pread(file, min(MAX_HEAD, end - at), at)
        tag, used = _varint(head, 0, at)
        field, wire = tag >> 3, tag & 7
        at += used
        if field == 0:
            raise InvalidFile(
                f"This is not an ONNX file: the bytes are not protobuf (field number 0 at byte {field_start:,})."
            )
        if wire == 0:
            at = field_start + _varint(head, used, field_start)[1]
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, used = _varint(head, used, field_start)
            body = field_start + used
            at = body + size
            if at > end:
                raise InvalidFile(
                    f"Truncated: the field at byte {field_start} declares {size} bytes, but only {end - body} follow. "
                    "Upload the whole file again."
                )
            inside = holds.get(field)
            if size > INLINE and (inside or (kind == "tensor" and field in PAYLOADS)):
                parts.append(_read(file, kept, field_start))
                kept = at
                if inside:
                    message = _strip(file, body, at, inside, depth + 1)
                    parts += [_tag(field), _encode(len(message)), message]
                elif (values := values + 1) > 1:
                    raise InvalidFile(f"The tensor that ends at byte {end} stores its values twice; one copy is allowed.")
                else:
                    parts.append(_reference(field, body, size))
        else:
            raise InvalidFile(
                f"This is not an ONNX file: the bytes are not protobuf (wire type {wire} at byte {field_start:,})."
            )
        if at > end:
            raise InvalidFile(
                f"Truncated: the field at byte {field_start} extends past the end of the file. Upload the whole file again."
            )
    parts.append(_read(file, kept, end))
    return b"".join(parts)


def _reference(field: int, offset: int, length: int) -> bytes:
    """TensorProto.external_data entries (13) for the payload, and data_location (14) = EXTERNAL."""
    out = b""
    for key, value in (("location", f"{MARK}-{field}"), ("offset", str(offset)), ("length", str(length))):
        pair = b"".join(_tag(n) + _encode(len(text)) + text.encode() for n, text in ((1, key), (2, value)))
        out += _tag(13) + _encode(len(pair)) + pair
    return out + _encode(14 << 3) + b"\x01"


def _varint(head: bytes, at: int, where: int) -> tuple[int, int]:
    """The number at ``head[at]`` and the index after it; ``where`` is the file offset of ``head[0]``."""
    value = shift = 0
    for byte in head[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    if shift == 70:
        raise InvalidFile(
            f"This is not an ONNX file: the bytes are not protobuf (a number of over 64 bits at byte {where:,})."
        )
    raise InvalidFile(f"Truncated: a number is cut off at byte {where}. Upload the whole file again.")


def _read(file: int, start: int, end: int) -> bytes:
    """Exactly these bytes; a pread may give fewer."""
    out = []
    while start < end:
        data = os.pread(file, end - start, start)
        if not data:
            raise InvalidFile("The file shrank while it was being read. Upload it again.")
        out.append(data)
        start += len(data)
    return b"".join(out)


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(field: int) -> bytes:
    return _encode(field << 3 | 2)


def message_with(field: int, payload: bytes) -> bytes:
    """The encoding of one length-delimited field: appended to a tensor, it gives its payload back."""
    return _tag(field) + _encode(len(payload)) + payload
