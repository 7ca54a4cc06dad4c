"""Checks a pickle's opcodes without executing any: only what torch writes for tensors and plain containers is allowed.

This is an allow-list of opcodes and globals. ``STACK_GLOBAL`` is not on it: it takes the name of its global from the
stack, where it can be hidden, and torch never writes it. The check runs before torch's own restricted unpickler
(``weights_only``), which loads the file.
"""

from __future__ import annotations

import pickletools
from typing import IO

from lib.errors import InvalidFile
from lib.words import words

MAX_BYTES, MAX_OPCODES = 64 << 20, 5_000_000
OPCODES = frozenset(
    words("""
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE
    SHORT_BINSTRING SHORT_BINBYTES BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT
    SETITEM SETITEMS EMPTY_SET BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD NEWOBJ BINPERSID
""")
)
_TYPES = words("""
    Float Double Half BFloat16 Byte Char Short Int Long Bool ComplexFloat ComplexDouble QInt8 QUInt8 QInt32
""")
_DTYPES = words("""
    float16 float32 float64 bfloat16 half float double uint8 uint16 uint32 uint64 int8 int16 int32 int64 bool complex32
    complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu
""")
_REBUILD = words("""
    _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state
    _rebuild_sparse_tensor _rebuild_qtensor
""")
GLOBALS = frozenset(
    {"collections OrderedDict", "collections Counter", "torch Size", "torch device", "_codecs encode"}
    | {"torch.nn.parameter Parameter", "torch.serialization _get_layout", "torch.storage UntypedStorage"}
    | {f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "bytearray", "complex")}
    | {f"torch {name}Storage" for name in _TYPES}
    | {f"torch {name}" for name in _DTYPES}
    | {f"torch._utils {name}" for name in _REBUILD}
)
WAY_OUT = (
    "A pickle can run arbitrary code, so it is not opened. If you trust it, load it in your own Python and save only the "
    "tensors: torch.save(model.state_dict(), ...), or safetensors."
)


class Bounded:
    """A stream for pickletools with a size limit, so that a pickle that claims gigabytes is not read.

    Raises InvalidFile beyond the limit.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._left = stream, MAX_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise InvalidFile(f"The pickle in this file has over {MAX_BYTES >> 20} MB; a checkpoint's is far smaller.")
        return self._stream.read(size)

    def readline(self) -> bytes:
        line = self._stream.readline(300)
        self._left -= len(line)
        if len(line) == 300 or self._left < 0:
            raise InvalidFile(f"A name in the pickle in this file is too long. {WAY_OUT}")
        return line


def check_pickle(stream: IO[bytes], also: frozenset[str] = frozenset()) -> set[str]:
    """Reads one pickle up to its STOP and returns the globals it names. Raises InvalidFile for anything not allowed.

    ``also``: additional globals, for a loader that replaces them with inert stand-ins.
    """
    names = set()
    bounded = Bounded(stream)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(bounded)):
            if opcode.name not in OPCODES:
                raise InvalidFile(f"The pickle in this file uses {opcode.name}, which torch does not write. {WAY_OUT}")
            if opcode.name == "GLOBAL":
                if argument not in GLOBALS and argument not in also:
                    raise InvalidFile(
                        f"The pickle in this file refers to {_shown(argument)}, which is not a tensor. {WAY_OUT}"
                    )
                names.add(argument)
            if count > MAX_OPCODES:
                raise InvalidFile(f"The pickle in this file has over {MAX_OPCODES:,} steps; a checkpoint's has far fewer.")
    except InvalidFile:
        raise
    except (ValueError, IndexError, UnicodeError, OverflowError):
        raise InvalidFile("The pickle in this file is damaged or cut off. Upload the whole file again.") from None
    return names


def _shown(name: str) -> str:
    """Formats a global's name for a message."""
    return ".".join("".join(c if c.isprintable() else "?" for c in part[:60]) for part in name.split(" ", 1))
