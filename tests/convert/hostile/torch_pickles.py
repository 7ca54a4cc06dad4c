"""Pickles that would touch a file if anybody unpickled them, wherever a pickle can be."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile

import numpy as np
import torch

from tests.convert.hostile import Made, Touch, hostile
from tests.convert.hostile.valid import Tiny, checkpoint, old_checkpoint, saved, unzipped, zipped

POISON = pickle.dumps(Touch(), 2)
STORED = zipfile.ZIP_STORED

for protocol in range(6):
    hostile("", f"pickle of protocol {protocol}")(lambda protocol=protocol: pickle.dumps(Touch(), protocol))
hostile("refers to", "pickle in a checkpoint")(lambda: saved({"w": torch.zeros(2), "x": Touch()}))
hostile("refers to", "pickle in an old checkpoint")(
    lambda: saved({"w": torch.zeros(2), "x": Touch()}, _use_new_zipfile_serialization=False)
)
hostile("which torch does not write", "pickle of protocol 4 in a checkpoint")(lambda: saved([Touch()], pickle_protocol=4))
hostile("Tiny", "a whole module in a checkpoint")(lambda: saved(Tiny()))
hostile("refers to", "NumPy in a checkpoint")(lambda: saved({"w": np.zeros(3)}))


def with_pickle(data: bytes) -> bytes:
    members = unzipped(checkpoint())
    name = next(n for n in members if n.endswith("data.pkl"))
    return zipped(members | {name: data}, STORED)


OPCODES = {
    "builtins eval": (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval"),
    "posix system": (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "posix.system"),
    "a name with a dot": (
        b"\x80\x02ctorch\nserialization.os.system\nX\x04\x00\x00\x00true\x85R.",
        "serialization.os.system",
    ),
    "torch's own loader": (b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R.", "torch.load"),
    "INST": (b"(S'true'\nios\nsystem\n.", "which torch does not write"),
    "OBJ": (b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.", "refers to"),
    "EXT1": (b"\x80\x02\x82\x01.", "EXT1"),
    "STACK_GLOBAL": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "STACK_GLOBAL"),
    "STACK_GLOBAL from the memo": (
        b"\x80\x04\x8c\x02osq\x000\x8c\x06systemq\x010h\x00h\x01\x93.",
        "which torch does not write",
    ),
    "persistent id as text": (b"\x80\x02Pcos\n.", "PERSID"),
    "a second pickle": (b"\x80\x02}." + POISON, "Something follows"),
    "cut off": (b"\x80\x02}q\x00(X\xff\x00\x00\x00", "cut off"),
    "bytes of 2 GB": (b"\x80\x02B\xff\xff\xff\x7fx.", "over 64 MB"),
    "no opcode": (b"\x80\x02\xff.", "damaged"),
    "a name of 10,000 letters": (b"\x80\x02c" + b"x" * 10_000 + b"\ny\n.", "too long"),
    "no UTF-8": (b"\x80\x02c\xff\xfe\nx\n.", ""),
    "empty": (b"", "cut off"),
}
for name, (data, words) in OPCODES.items():
    hostile(words, f"checkpoint with {name}")(lambda data=data: with_pickle(data))


@hostile("which torch.save does not write")
def second_pickle_in_a_checkpoint() -> Made:
    return zipped(unzipped(checkpoint()) | {"archive/other.pkl": POISON}, STORED)


@hostile("compressed")
def compressed_checkpoint() -> Made:
    return zipped(unzipped(checkpoint()))


@hostile("refers to")
def pickle_behind_an_old_checkpoint() -> Made:
    """In the place of the storages' names, which torch unpickles as well."""
    data = old_checkpoint()
    heads = io.BytesIO(data)
    for _ in range(4):
        list(pickletools.genops(heads))  # to the end of one pickle
    return data[: heads.tell()] + POISON


@hostile("not a PyTorch checkpoint")
def a_harmless_pickle() -> Made:
    return pickle.dumps({"a": [1, 2, 3]}, 2)


@hostile("TorchScript")
def torchscript() -> Made:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(Tiny(), torch.zeros(1, 4)), file)
    return file.getvalue()


@hostile("(.npz)")
def pickle_in_npz() -> Made:
    file = io.BytesIO()
    np.savez(file, x=np.array([Touch()], dtype=object))
    return file.getvalue()


@hostile("a NumPy array")
def pickle_in_npy() -> Made:
    file = io.BytesIO()
    np.save(file, np.array([Touch()], dtype=object), allow_pickle=True)
    return file.getvalue()
