"""Runs that would take 100 GB or for ever, and inputs that are no inputs: answered within the limits."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lib.errors import InvalidFile, InvalidValue, JobFailed, LimitExceeded
from lib.jobs import Jobs, Limits
from lib.onnx_inspect.examples import EXAMPLES
from tests.onnx_inspect.ask import SMALL, Answer, ask
from tests.onnx_inspect.bad.not_onnx import Touch

QUICK = replace(SMALL, wall_seconds=2)
HEAD = '<ir_version: 10, opset_import: ["" : 21]> g '
DOUBLING = "".join(f" v{k + 1} = Concat <axis=0> (v{k}, v{k})\n" for k in range(40))
STRINGS = "".join(f" v{k + 1} = StringConcat (v{k}, v{k})\n" for k in range(40))
STEP = "(int64 i, bool go, float[n] v) => (bool more, float[m] w)"

BOMBS: dict[str, str] = {
    "Expand to 160 GB": "(float[1] x) => (float[a,b] y) <int64[2] s = {200000, 200000}> {y = Expand (x, s)}",
    "Expand to 2^80": "(float[1] x) => (y) <int64[2] s = {1099511627776, 1099511627776}> {y = Expand (x, s)}",
    "ConstantOfShape": "() => (float[a,b] y) <int64[2] s = {400000, 100000}> {y = ConstantOfShape (s)}",
    "ConstantOfShape, negative": "() => (float[a] y) <int64[1] s = {-5}> {y = ConstantOfShape (s)}",
    "Range": "() => (int64[n] y) <int64 a = {0}, int64 b = {100000000000}, int64 c = {1}> {y = Range (a, b, c)}",
    "Range by nothing": "() => (int64[n] y) <int64 a = {0}, int64 b = {9}, int64 c = {0}> {y = Range (a, b, c)}",
    "Range by a float that vanishes": "() => (float[n] y) <float a = {0}, float b = {1e30}, float c = {1e-30}> "
    "{y = Range (a, b, c)}",
    "Range over all of int64": "() => (int64[n] y) <int64 a = {-9223372036854775807}, int64 b = {9223372036854775807}, "
    "int64 c = {17179869184}> {y = Range (a, b, c)}",
    "Tile": "(float[4] x) => (float[n] y) <int64[1] r = {10000000000}> {y = Tile (x, r)}",
    "Pad": "(float[4] x) => (float[n] y) <int64[2] p = {20000000000, 20000000000}> {y = Pad (x, p)}",
    "OneHot": "() => (float[a,b] y) <int64[2] i = {1, 2}, int64 d = {50000000000}, float[2] v = {0, 1}> "
    "{y = OneHot <axis=-1> (i, d, v)}",
    "Resize": "(float[1,1,4,4] x) => (float[1,1,h,w] y) <float[4] s = {1, 1, 50000, 50000}> {y = Resize (x, , s)}",
    "doubled 40 times": f"(float[4] v0) => (float[n] v40) {{\n{DOUBLING}}}",
    "a string doubled 40 times": f"(string[1] v0) => (string[1] v40) {{\n{STRINGS}}}",
    "an outer product": "(float[300000] x) => (float[a,b] y) <int64[2] s = {-1, 1}, int64[2] t = {1, -1}> "
    "{c = Reshape (x, s) r = Reshape (x, t) y = MatMul (c, r)}",
    "RandomNormal": "() => (float[a,b] y) {y = RandomNormal <shape = [200000, 200000]> ()}",
    "EyeLike": "() => (float[a,b] y) <int64[2] s = {200000, 200000}> {c = ConstantOfShape (s) y = EyeLike (c)}",
    "HannWindow": "() => (float[n] y) <int64 n = {100000000000}> {y = HannWindow (n)}",
    "a loop without an end": f"(float[4] x) => (float[n] y) <bool yes = {{1}}> {{y = Loop (, yes, x) <body = b {STEP} "
    "{more = Identity (go) w = Relu (v)}>}",
    "a loop that grows": f"(float[4] x) => (float[n] y) <bool yes = {{1}}> {{y = Loop (, yes, x) <body = b {STEP} "
    "{more = Identity (go) w = Concat <axis=0> (v, v)}>}",
    "a loop that keeps everything": "(float[4] x) => (float[k,n] y) <bool yes = {1}, int64 m = {9000000000000000000}> "
    "{y = Loop (m, yes) <body = b (int64 i, bool go) => (bool more, float[4] w) {more = Identity (go) w = Relu (x)}>}",
    "a sequence that grows": "(float[100000] x) => (seq(float[n]) y) <bool yes = {1}> { e = SequenceEmpty () "
    "y = Loop (, yes, e) <body = b (int64 i, bool go, seq(float[n]) s) => (bool more, seq(float[n]) t) "
    "{more = Identity (go) z = Neg (x) t = SequenceInsert (s, z)}>}",
    "a thousand products of 3000 x 3000": "() => (float[a,b] y) <int64 m = {100000}, bool yes = {1}, "
    "int64[2] s = {3000, 3000}> {x = ConstantOfShape (s) y = Loop (m, yes, x) <body = b (int64 i, bool go, "
    "float[a,b] v) => (bool more, float[a,b] w) {more = Identity (go) w = MatMul (v, v)}>}",
    "a pattern that backtracks": "(string[1] x) => (bool[n] y) "
    '{c = Constant <value_strings = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"]> () '
    'y = RegexFullMatch <pattern = "(a+)+"> (c)}',
    "an index outside": "(float[4] x) => (float[n] y) <int64[1] i = {4000000000}> {y = Gather (x, i)}",
    "scattered outside": "(float[4] x) => (float[4] y) <int64[1] i = {4000000000}, float[1] u = {1}> "
    "{y = ScatterElements (x, i, u)}",
    "divided by zero": "(int64[4] x) => (int64[4] y) <int64[1] z = {0}> {y = Div (x, z)}",
    "the lowest divided by -1": "() => (int64[1] y) <int64[1] a = {-9223372036854775808}, int64[1] b = {-1}> "
    "{y = Div (a, b)}",
    "a remainder of nothing": "(int64[4] x) => (int64[4] y) <int64[1] z = {0}> {y = Mod (x, z)}",
    "reshaped to what does not fit": "(float[4] x) => (float[n] y) <int64[2] s = {-1, 3}> {y = Reshape (x, s)}",
    "a pool of nothing": "(float[1,1,4,4] x) => (y) {y = MaxPool <kernel_shape = [0, 0], strides = [0, 0]> (x)}",
    "a convolution with huge padding": "(float[1,1,4,4] x, float[1,1,1,1] w) => (y) "
    "{y = Conv <pads = [2000000, 2000000, 2000000, 2000000]> (x, w)}",
    "no element": "(float[0,4] x) => (float[n] y) {y = ReduceMax <keepdims=0> (x)}",
    "huge numbers": "() => (double[2] y) <double[2] a = {1.7e308, -1.7e308}> {y = Add (a, a)}",
    "the largest differences": "() => (double[2] y) <double[2] a = {1.7e308, -1.7e308}> {y = Identity (a)}",
}  # fmt: skip


# Stopped by a limit. All others fail in onnxruntime, and the report of the run says how.
ENDLESS = {
    *("doubled 40 times", "a string doubled 40 times", "a loop without an end", "a loop that grows"),
    *("a loop that keeps everything", "a sequence that grows"),
    *("a thousand products of 3000 x 3000", "a pattern that backtracks"),
}
# These double: a fast machine reaches the limit of memory, and an error of onnxruntime, before the time is up.
GROWS = {"doubled 40 times", "a string doubled 40 times", "a loop that grows", "a sequence that grows"}
# onnxruntime 1.32 itself dies of these, if nothing stops it before, and the child alone with it
CRASHES = {"a loop that keeps everything", "the lowest divided by -1", "a sequence that grows"}
RUNS = {"no element", "huge numbers", "the largest differences"}


def run(jobs: Jobs, model: onnx.ModelProto, folder: Path, limits: Limits = SMALL, **more: Any) -> Answer:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "out").mkdir(exist_ok=True)
    given = {"inputs": None, "seed": 0, "runs": 1, "symbols": {}, "out": str(folder / "out")} | more
    return ask(jobs, "execute", limits, model=str(folder / "model.onnx"), externals={}, **given)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb(name: str, jobs: Jobs, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(HEAD + BOMBS[name])
    found = run(jobs, model, tmp_path, QUICK if name in ENDLESS else SMALL)
    if name in ENDLESS | CRASHES and not (name in GROWS and isinstance(found, dict) and "error" in found["onnxruntime"]):
        ends = [LimitExceeded] * (name in ENDLESS) + [JobFailed] * (name in CRASHES)
        assert type(found) in ends, found
    else:
        assert isinstance(found, dict) and ("error" in found["onnxruntime"]) is (name not in RUNS), found
    report = ask(jobs, "inspect", model=str(tmp_path / "model.onnx"), externals={}, name="model.onnx", symbols={})
    assert isinstance(report, dict), report
    assert isinstance(run(jobs, EXAMPLES["linear"](), tmp_path), dict)


@pytest.mark.parametrize(("symbols", "words"), [
    ({"batch": 1 << 24, "sequence": 1 << 24}, "at most 1024 MB of inputs"),
    ({"batch": (1 << 24) + 1}, "1 to 16777216"),
    ({"batch": -1}, "1 to 16777216"),
    ({"batch": 1.5}, "1 to 16777216"),
    ({"batch": "9"}, "1 to 16777216"),
    ({"batch": 10**400}, "1 to 16777216"),
    ({"x" * 10_000: 1}, "batch, sequence"),
])  # fmt: skip
def test_symbols_out_of_range(symbols: dict[str, Any], words: str, jobs: Jobs, tmp_path: Path) -> None:
    found = run(jobs, EXAMPLES["transformer-block"](), tmp_path, symbols=symbols)
    assert isinstance(found, InvalidValue) and words in found.message


def test_a_long_sequence_fits_the_inputs_but_not_the_scores(jobs: Jobs, tmp_path: Path) -> None:
    found = run(jobs, EXAMPLES["transformer-block"](), tmp_path, symbols={"sequence": 200_000})
    assert isinstance(found, LimitExceeded) or (isinstance(found, dict) and found["onnxruntime"]["error"])
    report = ask(jobs, "inspect", model=str(tmp_path / "model.onnx"), externals={}, name="m", symbols={"sequence": 1 << 20})
    assert isinstance(report, dict) and report["macs"] > 1 << 46


@pytest.mark.parametrize(("more", "words"), [
    ({"runs": 0}, "1 to 1000"), ({"runs": 10**9}, "1 to 1000"), ({"seed": -1}, "0 to 4294967295"),
    ({"seed": 1 << 40}, "0 to 4294967295"),
])  # fmt: skip
def test_other_arguments(more: dict[str, Any], words: str, jobs: Jobs, tmp_path: Path) -> None:
    found = run(jobs, EXAMPLES["linear"](), tmp_path, **more)
    assert isinstance(found, InvalidValue) and words in found.message


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as one:
        for name, data in members.items():
            one.writestr(name, data)
    return file.getvalue()


def npy(shape: str = "(1, 4)", descr: str = "'<f4'", data: bytes = bytes(16), version: bytes = b"\x01\x00") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(head))
    return b"\x93NUMPY" + version + size + head + data


def savez(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """``data`` with the field at ``offset`` of its first central directory entry set."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


ONES = np.ones((1, 4), np.float32)
PLAIN = "not an .npz file with plain arrays"
INPUTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", PLAIN),
    "an empty archive": (lambda: archive({}), "The .npz is empty"),
    "random bytes": (lambda: np.random.default_rng(0).bytes(5000), PLAIN),
    "a pickle": (lambda: pickle.dumps(Touch()), PLAIN),
    "a pickled array": (lambda: savez(X=np.array([Touch()], object)), PLAIN),
    "a pickle in the archive": (lambda: archive({"X.npy": pickle.dumps(Touch())}), PLAIN),
    "no array in the archive": (lambda: archive({"X": b"hello"}), PLAIN),
    "a folder in the archive": (lambda: archive({"X/": b""}), PLAIN),
    "an .npy": (lambda: npy(), PLAIN),
    "an .npy with an archive behind it": (lambda: npy() + archive({"X.npy": npy()}), PLAIN),
    "half an archive": (lambda: savez(X=ONES)[:100], PLAIN),
    "a zip bomb": (lambda: patched(archive({"X.npy": npy("(1, 4)", data=bytes(1 << 24))}, zipfile.ZIP_DEFLATED), 24,
                                   struct.pack("<I", 1 << 31)), "conflicting headers for 'X.npy'"),
    "a bomb that says it is small": (lambda: patched(archive({"X.npy": npy("(1, 10000000)", data=bytes(4 * 10**7))},
                                                             zipfile.ZIP_DEFLATED), 24, b"\xc8\0\0\0"), PLAIN),
    "a header of 4 TB": (lambda: archive({"X.npy": npy("(1, 1000000000000)")}), PLAIN),
    "a header of 2^80": (lambda: archive({"X.npy": npy("(1099511627776, 1099511627776)")}), PLAIN),
    "a negative shape": (lambda: archive({"X.npy": npy("(1, -4)")}), PLAIN),
    "a header that is code": (lambda: archive({"X.npy": npy("(__import__('os').getcwd(), 4)")}), PLAIN),
    "a header of brackets": (lambda: archive({"X.npy": npy("(" * 5000)}), PLAIN),
    "a header of a float": (lambda: archive({"X.npy": npy("(1.0, 4)")}), PLAIN),
    "a dtype that is none": (lambda: archive({"X.npy": npy(descr="'?!'")}), PLAIN),
    "objects": (lambda: archive({"X.npy": npy(descr="'|O'")}), PLAIN),
    "objects in a structure": (lambda: archive({"X.npy": npy(descr="[('a', '|O')]")}), PLAIN),
    "a structure of the right size": (lambda: archive({"X.npy": npy(descr="[('a', '<i2'), ('b', '<i2')]")}), ""),
    "version 9": (lambda: archive({"X.npy": npy(version=b"\x09\x00")}), PLAIN),
    "an unknown compression": (lambda: patched(archive({"X.npy": npy()}), 10, b"\x63\x00"), PLAIN),
    "encrypted": (lambda: patched(archive({"X.npy": npy()}), 8, b"\x01\x00"), PLAIN),
    "damaged LZMA": (lambda: archive({"X.npy": npy()}, zipfile.ZIP_LZMA).replace(b"NUMPY", b"numpy")
                     [:60] + bytes(30) + archive({"X.npy": npy()}, zipfile.ZIP_LZMA)[90:], PLAIN),
    "many members": (lambda: archive({f"v{k}.npy": npy() for k in range(3000)}), "has 3,000 members; at most 256"),
    "another name": (lambda: savez(Z=ONES), "lacks 'X'. The model takes: X float32 [batch, 4]"),
    "one too many": (lambda: savez(X=ONES, Z=ONES), "also has 'Z'"),
    "a name that is a path": (lambda: archive({"X.npy": npy(), "../../evil.npy": npy()}), "only plain names are unpacked"),
    "a long name": (lambda: archive({"X.npy": npy(), "n" * 60_000 + ".npy": npy()}), "its name is too long"),
    "another dtype": (lambda: savez(X=ONES.astype(np.float64)), "is float64 [1, 4]. The model takes"),
    "another rank": (lambda: savez(X=np.ones(4, np.float32)), "is float32 [4]. The model takes"),
    "another size": (lambda: savez(X=np.ones((1, 5), np.float32)), "is float32 [1, 5]. The model takes"),
    "dates": (lambda: savez(X=np.zeros((1, 4), "datetime64[s]")), "is datetime64[s] [1, 4]"),
    "text": (lambda: savez(X=np.array([["a"] * 4])), "The model takes"),
    "rank 64": (lambda: savez(X=np.ones((1,) * 64, np.float32)), "The model takes"),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_bad_inputs(name: str, jobs: Jobs, tmp_path: Path) -> None:
    make, words = INPUTS[name]
    (tmp_path / "in.npz").write_bytes(make())
    found = run(jobs, EXAMPLES["linear"](), tmp_path, inputs=str(tmp_path / "in.npz"))
    assert (not words and isinstance(found, dict)) or (isinstance(found, InvalidFile) and words in found.message), found


NO_ARRAY = "The values of 'X' are not an array of float32"


@pytest.mark.parametrize(("values", "words"), [
    ({"X": "four"}, NO_ARRAY), ({"X": [[1, 2], [3]]}, NO_ARRAY), ({"X": {"a": 1}}, NO_ARRAY), ({"X": 10**400}, NO_ARRAY),
    ({"X": [["1", "2", "3", "x"]]}, NO_ARRAY), ({"Y": 1}, "lack 'X'"), ({"X": [[1, 2, 3, 4]], "Z": 1}, "also have 'Z'"),
    ({"X": [[[[[[]]]]]]}, "is float32 [1, 1, 1, 1, 1, 0]. The model takes: X float32 [batch, 4]"),
])  # fmt: skip
def test_bad_values(values: dict[str, Any], words: str, jobs: Jobs, tmp_path: Path) -> None:
    found = run(jobs, EXAMPLES["linear"](), tmp_path, values=values)
    assert isinstance(found, InvalidFile) and words in found.message, found


@pytest.mark.parametrize("row", [[1, 2, 3, None], [1e400, 0, 0, 0], [float("nan")] * 4])
def test_values_that_are_not_finite_are_run(row: list[Any], jobs: Jobs, tmp_path: Path) -> None:
    found = run(jobs, EXAMPLES["linear"](), tmp_path, values={"X": [row]})
    assert isinstance(found, dict) and "error" not in found["onnxruntime"] and found["agree"], found
