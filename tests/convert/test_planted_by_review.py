"""Errors that the proof once missed, found by a review: small things beside large ones, and inputs that never varied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from lib.convert.proof.measures import Pair
from lib.convert.proof.verdict import decide
from tests.convert.test_planted_errors import proof

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
TABLE = RNG.standard_normal((32, 8)).astype(np.float32)


def model(text: str, **weights: Any) -> ModelProto:
    made = onnx.parser.parse_model(HEAD + text)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items())
    onnx.checker.check_model(made)
    return made


def conv(name: str, kernel: np.ndarray) -> ModelProto:
    text = f"g (float[batch,3,height,width] {name}) => (float[batch,4,h,w] y) {{ y = Conv({name}, k) }}"
    return model(text, k=np.ascontiguousarray(kernel))


def positions(body: str) -> ModelProto:
    text = "g (float[batch,seq,8] x, int64[batch,seq] position_ids) => (float[batch,seq,8] y) {" + body + "}"
    return model(text, t=TABLE, zero=np.int64(0), one=np.int64(1))


def reshaped(*axes: int) -> ModelProto:
    dims = " ".join(f"d{k} = Shape<start={k}, end={k + 1}>(x)" for k in range(4))
    order = ", ".join(f"d{k}" for k in axes)
    return model(
        f"g (float[batch,3,height,width] x) => (float[batch,3,h,w] y) "
        f"{{ {dims} s = Concat<axis=0>({order}) y = Reshape(x, s) }}"
    )


def masks(first: str, second: str) -> ModelProto:
    return model(
        "g (float[batch,seq] x, float[batch,seq] src_mask, float[batch,seq] tgt_mask) => (float[batch,seq] y) "
        f"{{ a = Mul(x, {first}) b = Mul(x, {second}) c = Mul(b, two) y = Add(a, c) }}",
        two=np.float32(2),
    )


def masked(body: str) -> ModelProto:
    return model(
        f"g (float[batch,seq] x, float[batch,seq] mask) => (float[batch,seq] y) {{ {body} }}", row=np.array([0], np.int64)
    )


def number(kind: str, body: str) -> ModelProto:
    return model(f"g ({kind}[batch,8] x) => (int64[batch,8] y) {{ {body} }}", d=np.int64(3))


def faint(body: str) -> ModelProto:
    return model(f"g (float[batch,8] x, float[batch,8] c) => (float[batch,8] y) {{ {body} }}", e=np.float32(1e-5))


def head(body: str) -> ModelProto:
    return model(f"g (float[batch,8] x) => (float[batch,16] y) {{ {body} }}", big=np.float32(640), small=np.float32(0.01))


PLANTED = {
    "a picture whose name has mask in it": (conv("masked_image", KERNEL), conv("masked_image", KERNEL[:, :, ::-1])),
    "positions counted instead of read": (
        positions("p = Gather(t, position_ids) y = Add(x, p)"),
        positions("s = Shape<start=1, end=2>(x) n = Squeeze(s) r = Range(zero, n, one) p = Gather(t, r) y = Add(x, p)"),
    ),
    "height and width exchanged": (reshaped(0, 1, 2, 3), reshaped(0, 1, 3, 2)),
    "two masks exchanged": (masks("src_mask", "tgt_mask"), masks("tgt_mask", "src_mask")),
    "one row's mask for all": (masked("y = Mul(x, mask)"), masked("m = Gather<axis=0>(mask, row) y = Mul(x, m)")),
    "uint8 read as int8": (number("uint8", "y = Cast<to=7>(x)"), number("int8", "y = Cast<to=7>(x)")),
    "another division of negative numbers": (
        number("int64", "y = Div(x, d)"),
        number("int64", "m = Mod(x, d) z = Sub(x, m) y = Div(z, d)"),
    ),
    "an input of small weight ignored": (faint("s = Mul(c, e) y = Add(x, s)"), faint("y = Identity(x)")),
    "small scores lost beside large boxes": (
        head("b = Mul(x, big) s = Mul(x, small) y = Concat<axis=1>(b, s)"),
        head("b = Mul(x, big) s = Sub(x, x) y = Concat<axis=1>(b, s)"),
    ),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_it_is_not_proven(name: str, tmp_path: Path) -> None:
    source, target = PLANTED[name]
    found = proof(source, target, tmp_path)
    assert found["verdict"] != "proven", found


@pytest.mark.parametrize("name", [n for n in PLANTED if n != "an input of small weight ignored"])
def test_the_right_one_is_proven(name: str, tmp_path: Path) -> None:
    source, _ = PLANTED[name]
    found = proof(source, source, tmp_path)
    assert found["verdict"] == "proven", found["reason"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_small_scores_count_at_every_precision(precision: str, tmp_path: Path) -> None:
    found = proof(*PLANTED["small scores lost beside large boxes"], tmp_path, precision)
    assert found["verdict"] == "failed", found


def test_labels_that_are_mostly_padding() -> None:
    """298 of 300 are -1 in every case; the two that say something are wrong."""

    def labels(k: int, add: int) -> dict[str, np.ndarray]:
        out = np.full((1, 300), -1)
        out[0, :2] = 10 * k + add, 10 * k + add + 1
        return {"labels": out}

    pairs = [Pair("ordinary", labels(k, 0), labels(k, 5)) for k in range(3)]
    for precision in ("fp32", "fp16", "int8"):
        assert decide(pairs, precision).verdict == "failed"


def test_something_where_nothing_is_expected() -> None:
    good = [Pair("ordinary", {"y": RNG.standard_normal((1, 8))}, None) for _ in range(3)]
    for pair in good:
        pair.ours = pair.expected
    nothing = Pair("zeros", {"y": np.zeros((1, 8))}, {"y": np.full((1, 8), 100.0)})
    assert decide([*good, nothing], "int8").verdict == "failed"


def test_huge_numbers_of_the_wrong_sign() -> None:
    some = [{"y": 1e200 * RNG.standard_normal((1, 8))} for _ in range(3)]
    pairs = [Pair("ordinary", s, {"y": -s["y"]}) for s in some]
    for precision in ("fp32", "fp16", "int8"):
        assert decide(pairs, precision).verdict == "failed"


def test_exact_and_constant_is_vacuous() -> None:
    pairs = [Pair("ordinary", {"y": np.zeros(4)}, {"y": np.zeros(4)}) for _ in range(3)]
    assert decide(pairs, "exact").verdict == "unproven"


def test_a_repeated_case_that_is_refused_fails() -> None:
    pairs = [Pair("ordinary", {"y": RNG.standard_normal((1, 8))}, None) for _ in range(3)]
    for pair in pairs:
        pair.ours = pair.expected
    assert decide([*pairs, Pair("repeated", pairs[0].expected, None, "no")], "fp32").verdict == "failed"


def test_rows_that_come_and_go_are_movement() -> None:
    """Detections: their number depends on the picture."""
    pairs = [Pair("ordinary", {"boxes": RNG.standard_normal((k + 1, 4))}, None) for k in range(3)]
    for pair in pairs:
        pair.ours = pair.expected
    assert decide(pairs, "fp32").verdict == "proven"
