"""Archives: names, links, bombs, and headers that do not say what the table says."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

from tests.convert.hostile import Made, hostile
from tests.convert.hostile.valid import PIPELINE, diffusers, keras, saved_model, zipped

NAMES = {
    "parent": "../../escaped.json",
    "parent inside": "pipe/../../escaped.json",
    "absolute": "/tmp/escaped.json",
    "drive": "C:/escaped.json",
    "drive, no slash": "c:escaped.json",
    "backslashes": "..\\escaped.json",
    "only a dot": "pipe/./x.json",
    "two slashes": "pipe//x.json",
    "newline": "pipe/a\nb.json",
    "over-long": "pipe/" + "x" * 300 + ".json",
    "deep": "/".join("pipe" + "d" * k for k in range(20)) + "/x.json",
    "small and capital letters": "pipe/MODEL_INDEX.json",
}
for name, member in NAMES.items():
    words = "Two members" if name.startswith("small") else "only plain names"
    hostile(words, f"zip with a name: {name}")(lambda member=member: diffusers(**{member: b"{}"}))


def with_mode(member: str, content: bytes, mode: int) -> bytes:
    file = io.BytesIO(diffusers())
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo(member)
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return file.getvalue()


for name, kind in {
    "symbolic link": stat.S_IFLNK,
    "device": stat.S_IFCHR,
    "pipe": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}.items():
    hostile("a link or a special file", f"zip with a {name}")(
        lambda kind=kind: with_mode("pipe/unet/link.json", b"/etc/passwd", kind | 0o777)
    )


@hostile("only plain names", "zip with a NUL in a name")
def nul() -> Made:
    return zipped({"pipe/model_index.json": b"{}", "pipe/xAy.json": b"{}"}).replace(b"xAy.json", b"x\0y.json")


@hostile("Two members")
def the_same_member_twice() -> Made:
    file = io.BytesIO(diffusers())
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo("pipe/model_index.json")
        archive.writestr(info, b"{}")
    return file.getvalue()


@hostile("is inside a member of the archive that is a file")
def a_file_that_is_also_a_folder() -> Made:
    return diffusers(**{"pipe/unet/config.json/x.json": b"{}"})


@hostile("as in a zip bomb")
def zip_bomb() -> Made:
    return saved_model(**{"model/assets/zeros": bytes(200 << 20)})


@hostile("as in a zip bomb")
def zip_bomb_in_keras_assets() -> Made:
    file = io.BytesIO(keras())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(100 << 20))
    return file.getvalue()


@hostile("members; at most")
def zip_of_many_members() -> Made:
    return diffusers(**{f"pipe/unet/{k}.json": b"{}" for k in range(10_100)})


def claimed(data: bytes, size: int) -> bytes:
    """The table and the headers say ``size`` for every member."""
    out, at = bytearray(data), 0
    while (at := out.find(b"PK\x01\x02", at)) >= 0:
        out[at + 24 : at + 28] = struct.pack("<L", size)
        local = struct.unpack("<L", out[at + 42 : at + 46])[0]
        out[local + 22 : local + 26] = struct.pack("<L", size)
        at += 4
    return bytes(out)


@hostile("would unpack to")
def zip_that_claims_gigabytes() -> Made:
    return claimed(saved_model(), 0xFFFFFF00)


@hostile("damaged", "zip that says less than there is")
def too_little() -> Made:
    return claimed(saved_model(), 3)


@hostile("conflicting headers", "zip with another name in the header")
def other_name() -> Made:
    data = diffusers()
    return data.replace(b"pipe/unet/config.json", b"pipe/unet/danger.json", 1)


@hostile("conflicting headers", "zip with another size in the header")
def other_size() -> Made:
    data = bytearray(diffusers())
    data[22:26] = struct.pack("<L", 7)
    return bytes(data)


@hostile("data before its members", "zip behind something else")
def prefixed() -> Made:
    data = zipped({"model_index.json": b"{}"})
    return b"PK\x03\x04" + bytes(60) + data


@hostile("belong to no member")
def hidden_member() -> Made:
    """A member that only readers of the local headers see."""
    whole = zipped({"model_index.json": b"{}", "hidden": b"x" * 10, "z": b"y"}, zipfile.ZIP_STORED)
    at = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", at + 4)
    third = whole.index(b"PK\x01\x02", second + 4)
    end = whole.index(b"PK\x05\x06")
    table = whole[at:second] + whole[third:end]
    return whole[:at] + table + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 2, 2, len(table), at, 0)


@hostile("conflicting headers", "zip with two names for one member")
def overlap() -> Made:
    whole = zipped({"model_index.json": b"{}", "b.json": b"{}"}, zipfile.ZIP_STORED)
    at = whole.index(b"PK\x01\x02")
    first = whole[at : whole.index(b"PK\x01\x02", at + 4)]
    end = whole.index(b"PK\x05\x06")
    table = whole[at:end] + first.replace(b"model_index.json", b"model_indey.json")
    return whole[:at] + table + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 3, 3, len(table), at, 0)


@hostile("two end records, or data after")
def zip_with_something_behind_it() -> Made:
    return diffusers() + b"more"


@hostile("encrypted")
def encrypted_zip() -> Made:
    data = bytearray(diffusers())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


@hostile("uses unsupported compression")
def bzip2_in_a_zip() -> Made:
    return zipped({"model_index.json": str(PIPELINE)}, zipfile.ZIP_BZIP2)


for share in (0.1, 0.5, 0.9, 0.99):
    hostile("cut off", f"zip truncated to {share:.0%}")(lambda share=share: (d := diffusers())[: int(len(d) * share)])


@hostile("damaged")
def zip_with_a_flipped_byte() -> Made:
    data = bytearray(diffusers())
    data[60] ^= 0x55
    return bytes(data)
