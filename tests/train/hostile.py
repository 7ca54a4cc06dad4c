"""Pictures, zips and folders that are not what a trainer hopes for, each made in code and small."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, width: int = 24, height: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(seed: int, kind: str = "JPEG", **options: object) -> bytes:
    return encode(Image.fromarray(pixels(seed)), kind, **options)


def rotated(turn: int, kind: str = "JPEG") -> bytes:
    """24 x 16, the left half red; EXIF says how it was held."""
    image = Image.new("RGB", (24, 16), "blue")
    image.paste("red", (0, 0, 12, 16))
    exif = Image.Exif()
    exif[274] = turn
    return encode(image, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand: ``data`` is what its IDAT unpacks to."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for name, body in [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]:
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return out


def deep_rgb(value: int = 0x80FF) -> bytes:
    return png(4, 4, 16, 2, (b"\0" + struct.pack(">12H", *[value] * 12)) * 4)


def grey16() -> bytes:
    return encode(Image.fromarray(np.array([[0, 257, 65535, 32896]] * 4, np.uint16)), "PNG")


def palette() -> bytes:
    image = Image.fromarray(pixels(3)).quantize(8)
    image.info["transparency"] = 0
    return encode(image, "PNG", transparency=0)


def frames(kind: str) -> bytes:
    """The first of three frames is red."""
    all_frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    return encode(all_frames[0], kind, save_all=True, append_images=all_frames[1:])


def looped_tiff() -> bytes:
    """Its directory says that the next directory is itself."""
    tags = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 4), (279, 4, 1, 16)]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    file = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + struct.pack("<I", 8)
    return file.ljust(200, b"\0") + bytes(range(16))


def truncated() -> bytes:
    data = encode(Image.fromarray(pixels(9, 200, 200)), "JPEG", quality=90)
    return data[: len(data) // 2]


LYING_EXIF = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 0xFFFF, 274, 3, 0xFFFFFFFF, 0xFFFFFFF0)
LYING_GIF = (
    b"GIF89a" + struct.pack("<HHBBBBHHHHB", 65535, 65535, 0, 0, 0, 44, 0, 0, 65535, 65535, 0) + b"\x08\x02\x4c\x01\0;"
)
Members = list[tuple[str | zipfile.ZipInfo, bytes]]


def good(prefix: str = "") -> Members:
    """Two classes of three pictures."""
    return [(f"{prefix}{name}/{k}.jpg", picture(10 * c + k)) for c, name in enumerate(("cats", "dogs")) for k in range(3)]


def special(name: str, data: bytes = b"", **fields: int) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    return special(name, target.encode(), external_attr=(stat.S_IFLNK | 0o777) << 16)


def zipped(members: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data, compresslevel=9)
    return out.getvalue()


def changed(data: bytes, old: bytes, new: bytes, most: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, most)


def locked() -> bytes:
    """One member says that it is encrypted, in both places."""
    data = bytearray(zipped([*good(), ("cats/locked.jpg", picture(5))]))
    for mark, flags, name in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = data.find(mark)
        while at >= 0:
            if data[at + name : at + name + 15] == b"cats/locked.jpg":
                data[at + flags] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)


def damaged() -> bytes:
    """One stored member whose checksum does not fit."""
    mark = b"\xff\xd8 a picture that was changed on its way"
    return changed(zipped([*good(), special("cats/bad.jpg", mark, compress_type=0)]), mark, mark.replace(b"way", b"wax"))


def unmarked(name: str) -> bytes:
    """UTF-8 names without the flag that says so, as a Mac writes them."""
    data = zipped([(n, d) for n, d in [*good(), (f"{name}/1.jpg", picture(1)), (f"{name}/2.jpg", picture(2))]])
    out, raw = bytearray(data), name.encode()
    for mark, flags, at_name in ((b"PK\x03\x04", 7, 30), (b"PK\x01\x02", 9, 46)):
        at = out.find(mark)
        while at >= 0:
            if out[at + at_name :].startswith(raw):
                out[at + flags] &= ~8 & 0xFF
            at = out.find(mark, at + 4)
    return bytes(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Exactly one of ``members``, ``raw`` (a zip's bytes) and ``folder`` (writes one); then what must come of it."""

    members: Members | None = None
    raw: Callable[[], bytes] | None = None
    folder: Callable[[Path], None] | None = None
    error: str = ""  # in the message; "" where the set is usable
    problems: dict[str, str] = field(default_factory=dict)  # name -> part of what is said; "+" in front: used
    classes: tuple[str, ...] = ("cats", "dogs")
    count: int = 6
    warning: str = ""


def one(name: str, data: bytes, what: str) -> Case:
    """A good set and one more file among the cats."""
    return Case(members=[*good(), (name, data)], problems={name: what}, count=6 + what.startswith("+"))


def tree(members: Members, *more: Callable[[Path], object]) -> Callable[[Path], None]:
    """Writes a folder of plain files, and then what a zip cannot hold."""

    def write(root: Path) -> None:
        for name, data in members:
            path = root / str(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for do in more:
            do(root)

    return write


PICTURES = {
    "empty": one("cats/zero.jpg", b"", "0 bytes"),
    "truncated": one("cats/cut.jpg", truncated(), "cut off"),
    "garbage": one("cats/noise.png", pixels(2).tobytes(), "not a readable picture"),
    "text": one("cats/notes.txt", b"hello", "not a readable picture"),
    "svg": one("cats/drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable picture"),
    "zip_inside": one("cats/more.zip", zipped(good()), "not a readable picture"),
    "heic": one("cats/phone.heic", b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
    "ppm": one("cats/plain.jpg", picture(1, "PPM"), "not a readable picture"),
    "eps": one("cats/script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable picture"),
    "huge_header": one("cats/huge.png", png(60_000, 60_000, 8, 0, b"\0" * 99), "million"),
    "over_50_mp": one("cats/wide.png", png(10_000, 5_001, 1, 0, b"\0" * 1251 * 5001), "10,000 x 5,001 pixels"),
    "lying_gif": one("cats/lie.gif", LYING_GIF, "million"),
    "text_bomb": one(
        "cats/text.png",
        png(2, 2, 8, 0, b"\0" * 6, (b"zTXt", b"k\0\0" + zlib.compress(b"a" * 90_000_000))),
        "damaged or cut off",
    ),
    "short_png": one("cats/short.png", png(64, 64, 8, 2, b"\0" * 40), "damaged or cut off"),
    "looped_tiff": Case(members=[*good(), ("cats/loop.tif", looped_tiff())], count=7),
    "animated_gif": one("cats/moving.gif", frames("GIF"), "+animated"),
    "animated_png": one("cats/moving.png", frames("PNG"), "+animated"),
    "animated_webp": one("cats/moving.webp", frames("WEBP"), "+animated"),
    "pages": one("cats/pages.tiff", frames("TIFF"), "+several pages"),
    "cmyk": one("cats/print.jpg", encode(Image.fromarray(pixels(4)).convert("CMYK"), "JPEG"), "+CMYK"),
    "grey16": one("cats/scan.png", grey16(), "+16 bits"),
    "rgb16": one("cats/deep.png", deep_rgb(), "+16 bits"),
    "float": one("cats/float.tif", encode(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
    "int32": one("cats/int.tif", encode(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"), "32-bit"),
    "lab": one("cats/lab.tif", encode(Image.new("LAB", (4, 4)), "TIFF"), "+LAB"),
    "palette": one("cats/pal.png", palette(), "+transparent"),
    "alpha": one("cats/alpha.png", encode(Image.new("RGBA", (4, 4), (255, 0, 0, 0))), "+transparent"),
    "turned": one("cats/turned.jpg", rotated(6), "+rotated"),
    "turned_tiff": one("cats/turned.tif", rotated(6, "TIFF"), "+rotated"),
    "broken_exif": one("cats/exif.jpg", rotated(99), "+EXIF data is damaged"),
    "lying_exif": Case(members=[*good(), ("cats/exif.jpg", picture(7, exif=LYING_EXIF))], count=7),
    "wrong_suffix": one("cats/really.jpg", picture(8, "PNG"), "+its content is PNG"),
    "no_suffix": one("cats/IMG_0001", picture(8), "+its content is JPEG"),
}
NAMES = {
    "mac": Case(
        members=[
            *good("set/"),
            ("__MACOSX/set/cats/._0.jpg", b"\0\5\26\7"),
            ("set/.DS_Store", b"x"),
            ("set/cats/Thumbs.db", b"x"),
        ],
        problems={"__MACOSX": "file manager", "set/.DS_Store": "file manager", "set/cats/Thumbs.db": "file manager"},
    ),
    "hidden": one("cats/.secret.jpg", picture(1), "hidden"),
    "hidden_folder": Case(members=[*good(), (".git/objects/1.jpg", picture(1))], problems={".git": "hidden"}),
    "beside": one("stray.jpg", picture(1), "no class"),
    "control": one("cats/a\nb.jpg", picture(1), "control characters"),
    "long": one(f"cats/{'x' * 300}.jpg", picture(1), "too long"),
    "deep": one("cats/" + "a/" * 20 + "1.jpg", picture(1), "folders deep"),
    "odd_but_fine": Case(
        members=[*good(), ('cats/what? <b>"it\'s" 100%: $HOME|*.jpg', picture(1)), ("cats/ .jpg", picture(2))], count=8
    ),
    "emoji": Case(
        members=[*good(), *[(f"🐈 猫/{k}.jpg", picture(k + 40)) for k in range(2)]],
        classes=("cats", "dogs", "🐈 猫"),
        count=8,
    ),
    "composed": Case(
        members=[*good(), ("train_/x.txt", b""), ("Ka\u0308fer/1.jpg", picture(1)), ("K\u00e4fer/2.jpg", picture(2))],
        classes=("K\u00e4fer", "cats", "dogs"),
        count=8,
        problems={"train_": "without a picture"},
    ),
    "unmarked_utf8": Case(raw=lambda: unmarked("Käfer"), classes=("Käfer", "cats", "dogs"), count=8),
    "backslashes": Case(members=[(str(n).replace("/", "\\"), d) for n, d in good("set/")]),
    "case": Case(
        members=[*good(), *[(f"Cats/{k}.jpg", picture(k + 60)) for k in range(2)]],
        classes=("Cats", "cats", "dogs"),
        count=8,
        warning="upper and lower case",
    ),
    "empty_class": Case(members=[*good(), ("birds/", b"")], problems={"birds": "without usable files"}),
    "texts_class": Case(members=[*good(), ("labels/0.xml", b"<a/>")], problems={"labels": "without a picture"}),
    "nested": Case(members=[*good(), ("cats/more/of/them/1.jpg", picture(77))], count=7),
    "wrapped": Case(members=[*good("a/b/c/"), ("a/README.md", b"# hi")], problems={"a/README.md": "outside"}),
    "parts": Case(members=[*good("set/Train/"), *good("set/test/")], count=12, warning="train, val and test"),
    "parts_inside": Case(
        members=[(f"{c}/{p}/{k}.jpg", picture(k)) for c in ("a", "b") for p in ("train", "val") for k in range(2)],
        classes=("a", "b"),
        count=8,
    ),
    "parts_wrapped": Case(members=[*good("train/images/"), *good("valid/images/")], count=12),
    "part_beside_class": Case(
        members=[*good(), ("test/1.jpg", picture(31)), ("test/2.jpg", picture(32))],
        classes=("cats", "dogs", "test"),
        count=8,
        warning="called test",
    ),
    "unlabelled_test": Case(members=[*good("train/"), ("test/1.jpg", picture(31))], problems={"test/1.jpg": "no class"}),
    "again": Case(members=[*good(), ("dogs/copy.jpg", picture(0))], count=7, warning="in two classes"),
}
ARCHIVES = {
    "link": Case(members=[*good(), link("cats/link.jpg", "/etc/passwd")], problems={"cats/link.jpg": "link"}),
    "link_folder": Case(members=[*good(), link("birds", "/etc")], problems={"birds": "link"}),
    "pipe": Case(
        members=[*good(), special("cats/p.jpg", external_attr=stat.S_IFIFO << 16)], problems={"cats/p.jpg": "regular file"}
    ),
    "locked": Case(raw=locked, problems={"cats/locked.jpg": "encrypted"}),
    "damaged": Case(raw=damaged, problems={"cats/bad.jpg": "damaged"}),
    "lzma": Case(
        members=[*good(), special("cats/l.jpg", picture(1), compress_type=14)], problems={"cats/l.jpg": "standard zip"}
    ),
    "one_bomb": Case(members=[*good(), ("cats/bomb.bmp", b"\0" * (40 << 20))], problems={"cats/bomb.bmp": "zip bomb"}),
    "big_member": Case(members=[*good(), ("cats/big.bmp", b"\0" * (65 << 20))], problems={"cats/big.bmp": "at most"}),
    "bomb": Case(members=[*good(), *[(f"cats/{k}.bmp", b"\0" * (10 << 20)) for k in range(9, 14)]], error="zip bomb"),
    "two_of_a_name": Case(members=[*good(), ("cats/0.jpg", picture(1))], error="Two members"),
    "file_and_folder": Case(members=[*good(), ("cats/0.jpg/1.jpg", picture(1))], error="is a file"),
    "upwards": Case(members=[*good(), ("cats/../../x.jpg", picture(1))], error="only plain names"),
    "upwards_windows": Case(
        members=[(str(n).replace("/", "\\"), d) for n, d in [*good(), ("..\\..\\x.jpg", b"")]], error="plain names"
    ),
    "absolute": Case(members=[*good(), ("/etc/x.jpg", picture(1))], error="only plain names"),
    "two_stories": Case(raw=lambda: changed(zipped(good()), b"cats/0.jpg", b"cats/9.jpg", 1), error="conflicting headers"),
    "cut": Case(raw=lambda: zipped(good())[:-40], error="cut off"),
    "behind": Case(raw=lambda: zipped(good()) + b"#!/bin/sh", error="data after its end"),
    "before": Case(raw=lambda: b"#!/bin/sh\n" + zipped(good()), error="not a zip archive"),
    "rar": Case(raw=lambda: b"Rar!\x1a\x07\0" + b"x" * 99, error="RAR archive"),
    "single": Case(raw=lambda: picture(1), error="a single picture"),
    "nothing": Case(raw=lambda: b"", error="The file is empty"),
    "empty_zip": Case(members=[], error="No usable picture"),
}
TOO_LITTLE = {
    "one_class": Case(
        members=good()[:3], error="Only one class was found: 'cats' (3 pictures). Expected: one folder per class"
    ),
    "no_class": Case(members=[(f"{k}.jpg", picture(k)) for k in range(3)], error="no class"),
    "no_pictures": Case(members=[("cats/a.txt", b"x"), ("dogs/b.txt", b"y")], error="No usable picture"),
    "one_picture": Case(members=good()[:4], error="'dogs' (1 of 1 files)"),
    "copies": Case(members=[*good()[:3], *[(f"dogs/{k}.jpg", picture(7)) for k in range(3)]], error="'dogs' (1 of 3 files)"),
    "all_twice": Case(
        members=[(f"{name}/{k}.jpg", picture(k)) for name in ("cats", "dogs") for k in range(3)], error="in two classes"
    ),
    "all_broken": Case(members=[*good(), *[(f"birds/{k}.jpg", b"") for k in range(3)]], error="'birds' (0 of 3 files)"),
    "only_in_test": Case(
        members=[*good("train/"), *[(f"test/birds/{k}.jpg", picture(k)) for k in range(3)]], error="'birds' (0 of 3"
    ),
    "only_in_val": Case(
        members=[*good("train/"), *[(f"val/birds/{k}.jpg", picture(k)) for k in range(3)]], error="'birds' (3 of 3"
    ),
    "only_test": Case(members=good("test/"), error="Too few usable pictures"),
    "parts_without_classes": Case(
        members=[("train/1.jpg", picture(1)), ("test/2.jpg", picture(2))], error="no class folders"
    ),
}
FOLDERS = {
    "disk_link": Case(
        folder=tree(good(), lambda r: (r / "cats/l.jpg").symlink_to(r / "cats/0.jpg")), problems={"cats/l.jpg": "link"}
    ),
    "disk_loop": Case(folder=tree(good(), lambda r: (r / "cats/loop").symlink_to(r)), problems={"cats/loop": "link"}),
    "disk_pipe": Case(folder=tree(good(), lambda r: os.mkfifo(r / "cats/p.jpg")), problems={"cats/p.jpg": "regular file"}),
    "disk_newline": Case(folder=tree([*good(), ("cats/a\nb.jpg", picture(1))]), problems={"cats/a?b.jpg": "control"}),
    "disk_bytes": Case(
        folder=tree(good(), lambda r: Path(os.fsdecode(os.fsencode(r) + b"/cats/\xff.jpg")).write_bytes(picture(1))),
        problems={"cats/?.jpg": "not valid Unicode"},
    ),
    "disk_deep": Case(
        folder=tree([*good(), ("cats/" + "a/" * 40 + "1.jpg", picture(1))]),
        problems={"cats/" + "a/" * 29 + "a": "deep", "cats/a": "without usable files"},
    ),
    "disk_long": Case(folder=tree([*good(), (f"cats/{'x' * 250}.jpg", picture(1))]), count=7),
    "disk_none": Case(folder=lambda root: root.rmdir(), error="missing or unreadable"),
    "disk_file": Case(folder=lambda root: (root.rmdir(), root.write_bytes(b"x")), error="missing or unreadable"),
}
ZIPS = PICTURES | NAMES | ARCHIVES | TOO_LITTLE
