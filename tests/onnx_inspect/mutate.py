"""Damages a serialized model: its bytes, or its fields with all lengths kept right, so that the damage gets deep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.errors import InvalidFile
from lib.onnx_model.wire import _encode, _varint

HEAD = 4000  # bytes at the start and the end in which most damage is done: in between are weights
Rng = np.random.Generator
BYTES: list[Callable[[bytearray, int, Rng], None]] = []
FIELDS: list[Callable[[list[Field], int, Rng, list[Field]], None]] = []
ODD = (0, 1, 2, 7, 16, 127, 128, 255, 1 << 31, (1 << 32) - 1, 1 << 62, 1 << 63, (1 << 64) - 1, (1 << 64) - 2)


@dataclass
class Field:
    """One field of a protobuf message; ``value`` is a number, bytes, or the fields of a message in it."""

    number: int
    wire: int
    value: Any

    def copy(self) -> Field:
        return Field(self.number, self.wire, [f.copy() for f in self.value] if isinstance(self.value, list) else self.value)


def decoded(data: bytes) -> list[Field]:
    """What looks like a message in a field is taken for one. Raises InvalidFile or ValueError where ``data`` is none."""
    out, at = [], 0
    while at < len(data):
        tag, at = _varint(data, at, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, at = _varint(data, at, at)
        elif wire == 2:
            size, at = _varint(data, at, at)
            value, at = data[at : at + size], at + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("a group")
        if at > len(data) or not 0 < number < 30:
            raise ValueError("too short, or no field of onnx")
        if wire == 2 and len(value) > 1:
            value = _message_or_bytes(value)
        out.append(Field(number, wire, value))
    return out


def _message_or_bytes(value: bytes) -> Any:
    try:
        return decoded(value)
    except (InvalidFile, ValueError):
        return value


def encoded(fields: list[Field]) -> bytes:
    out = []
    for f in fields:
        value = encoded(f.value) if isinstance(f.value, list) else f.value
        out.append(_encode(f.number << 3 | f.wire))
        out.append(_encode(value) if f.wire == 0 else value if f.wire != 2 else _encode(len(value)) + value)
    return b"".join(out)


def parents(fields: list[Field]) -> list[tuple[list[Field], int]]:
    """Every field at any depth, as its message and its place there."""
    out = []
    for k, f in enumerate(fields):
        out.append((fields, k))
        if isinstance(f.value, list):
            out += parents(f.value)
    return out


def to_bytes(function: Callable[[bytearray, int, Rng], None]) -> Callable[[bytearray, int, Rng], None]:
    BYTES.append(function)
    return function


def to_fields(function: Callable[[list[Field], int, Rng, list[Field]], None]) -> Callable:
    FIELDS.append(function)
    return function


@to_bytes
def flip_a_bit(data: bytearray, at: int, rng: Rng) -> None:
    data[at] ^= 1 << int(rng.integers(8))


@to_bytes
def other_bytes(data: bytearray, at: int, rng: Rng) -> None:
    data[at : at + 4] = rng.bytes(len(data[at : at + 4]))


@to_bytes
def insert(data: bytearray, at: int, rng: Rng) -> None:
    data[at:at] = rng.bytes(int(rng.integers(1, 9)))


@to_bytes
def delete(data: bytearray, at: int, rng: Rng) -> None:
    del data[at : at + int(rng.integers(1, 9))]


@to_bytes
def repeat_a_piece(data: bytearray, at: int, rng: Rng) -> None:
    data[at:at] = data[at : at + int(rng.integers(1, 200))] * int(rng.integers(1, 5))


@to_bytes
def move_a_piece(data: bytearray, at: int, rng: Rng) -> None:
    piece = data[at : at + int(rng.integers(1, 60))]
    del data[at : at + len(piece)]
    to = int(rng.integers(len(data) + 1))
    data[to:to] = piece


@to_bytes
def tweak_a_number(data: bytearray, at: int, rng: Rng) -> None:
    """One more or less, zero, or the largest of its bytes: lengths, dimensions, types, versions."""
    data[at] = int(rng.choice([(data[at] + 1) % 256, (data[at] - 1) % 256, 0, 0x7F, 0xFF]))


@to_bytes
def a_huge_number(data: bytearray, at: int, rng: Rng) -> None:
    data[at : at + 1] = b"\xff" * int(rng.integers(1, 10)) + b"\x01"


@to_bytes
def cut(data: bytearray, at: int, rng: Rng) -> None:
    del data[at:]


@to_bytes
def swap_names(data: bytearray, at: int, rng: Rng) -> None:
    """Every byte of one value becomes another: names refer to other things or to nothing."""
    data[:] = bytes(data[:HEAD]).replace(bytes([data[at]]), bytes([int(rng.integers(32, 127))])) + bytes(data[HEAD:])


@to_fields
def leave_out(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    del message[k]


@to_fields
def double(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    message.insert(int(rng.integers(len(message) + 1)), message[k].copy())


@to_fields
def renumber(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    message[k].number = int(rng.integers(1, 30))


@to_fields
def exchange(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    other = int(rng.integers(len(message)))
    message[k], message[other] = message[other], message[k]


@to_fields
def graft(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    """Another field's value, of whatever kind, under this field's number."""
    places = parents(model)
    there, at = places[int(rng.integers(len(places)))]
    message[k] = Field(message[k].number, there[at].wire, there[at].copy().value)


@to_fields
def other_value(message: list[Field], k: int, rng: Rng, model: list[Field]) -> None:
    f = message[k]
    if f.wire == 0:
        f.value = ODD[int(rng.integers(len(ODD)))]
    elif isinstance(f.value, bytes):
        data = bytearray(f.value or b"x")
        how = int(rng.integers(4))
        if how == 0:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        elif how == 1 and f.wire == 2:
            del data[int(rng.integers(len(data))) :]
        elif how == 2 and f.wire == 2:
            data += data * int(rng.integers(1, 400))
        else:
            data[:] = rng.bytes(len(data))
        f.value = bytes(data)
    else:
        f.value = []


def mutant(whole: bytes, rng: Rng) -> tuple[bytes, str]:
    """A damaged copy, and the names of the one to three things done to it."""
    done, times = [], int(rng.integers(1, 4))
    if rng.random() < 0.5:
        fields = decoded(whole)
        for _ in range(times):
            if places := parents(fields):
                message, k = places[int(rng.integers(len(places)))]
                one = FIELDS[int(rng.integers(len(FIELDS)))]
                one(message, k, rng, fields)
                done.append(one.__name__)
        return encoded(fields), ", ".join(done)
    data = bytearray(whole)
    for _ in range(times):
        if data:
            near = int(rng.integers(min(HEAD, len(data))))
            at = int(rng.choice([near, near, len(data) - 1 - near, int(rng.integers(len(data)))]))
            change = BYTES[int(rng.integers(len(BYTES)))]
            change(data, at, rng)
            done.append(change.__name__)
    return bytes(data), ", ".join(done)
