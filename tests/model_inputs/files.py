"""Small files of every kind that visitors send as samples, good and bad, made on the spot."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


class Trap:
    """Unpickling it says so, loudly."""

    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('a pickle was opened')",)


def pickled() -> bytes:
    """An .npy of objects whose pickle is a trap."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickle.dumps(Trap())


def lying(shape: str, dtype: str = "<f4", body: bytes = b"\0" * 16) -> bytes:
    """An .npy whose header says ``shape``."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def picture(
    colour: tuple[int, ...] = (255, 0, 0), size: tuple[int, int] = (20, 10), kind: str = "PNG", mode: str = "RGB"
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind)
    return out.getvalue()


def deep() -> bytes:
    """A grey PNG of 16 bits: 0, half, full."""
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 32768, 65535]] * 3, np.uint16)).save(out, "PNG")
    return out.getvalue()


def animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def bomb() -> bytes:
    """A PNG whose header says 30,000 x 30,000 pixels."""
    data = picture()
    head = data[12:16] + struct.pack(">LL", 30_000, 30_000) + data[24:29]
    return data[:12] + head + struct.pack(">L", zlib.crc32(head)) + data[33:]


def wav(
    sound: np.ndarray, rate: int = 16000, bits: int = 16, kind: int = 1, extensible: bool = False, extra: bytes = b""
) -> bytes:
    """``sound``: floats [samples] or [samples, channels] in -1..1."""
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    if kind == 3:
        body = sound.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        body = (sound * 127 + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        body = (sound * (2**23 - 1)).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    else:
        body = (sound.astype(np.float64) * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()
    block = channels * bits // 8
    format_ = struct.pack("<HHLLHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:
        format_ += struct.pack("<HHLH14s", 22, bits, 0, kind, b"\0" * 14)
    chunks = b"".join(
        struct.pack("<4sL", n, len(d)) + d + b"\0" * (len(d) % 2) for n, d in ((b"fmt ", format_), (b"data", body))
    )
    return b"RIFF" + struct.pack("<L", 4 + len(extra) + len(chunks)) + b"WAVE" + extra + chunks
