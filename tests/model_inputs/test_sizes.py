"""Sizes as a user writes them, and as models take them that refuse most."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper

from lib.errors import InvalidValue
from lib.model_inputs import dimensions, made_up, sizes
from lib.model_inputs.signature import Signature, Value

SILERO = Signature(
    (
        Value("input", "float32", ("batch", "samples?")),
        Value("state", "float32", (2, "batch", 128)),
        Value("sr", "int64", ()),
    )
)
PICTURE = Signature((Value("x", "float32", ("n", 3, "h", "w")),))
UNNAMED_SILERO = Signature(
    (
        Value("input", "float32", ("input[0]", "input[1]")),
        Value("state", "float32", (2, "state[1]", 128)),
        Value("sr", "int64", ()),
    )
)
TEXT = Signature(
    (
        Value("input_ids", "int64", ("batch", "seq"), "tokens", 100),
        Value("attention_mask", "int64", ("batch", "seq"), "mask"),
    )
)
UNNAMED = Signature(tuple(Value(n, "float32", (f"{n}[0]", f"{n}[1]", 8)) for n in ("left", "right")))
DECODER = Signature(
    (
        Value("input_ids", "int64", ("batch", "sequence_length"), "tokens", 100),
        Value("attention_mask", "int64", ("batch", "past_sequence_length + sequence_length"), "mask"),
        Value("past_key_values.0.key", "float32", ("batch", 4, "past_sequence_length", 16)),
    )
)
AUTOENCODER = Signature((Value("latents", "float32", ("batch", 4, "height", "width")),))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("batch=4", {"batch": 4}),
        (" batch = 4 , samples=512,", {"batch": 4, "samples": 512}),
        ("batch=4; samples=512\nx=1", {"batch": 4, "samples": 512, "x": 1}),
        ("past_sequence_length=0", {"past_sequence_length": 0}),
        ("'input[1]'=7", {"input[1]": 7}),
        ("a=1, a=1", {"a": 1}),
    ],
)
def test_parse(text: str, found: dict[str, int]) -> None:
    assert sizes.parse(text) == found
    assert sizes.parse(sizes.sizes_text(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch", "allowed: pairs of a dimension's name and a whole number, as in batch=4, samples=512"),
        ("batch=", "'batch='"),
        ("=4", "'=4'"),
        ("batch=-1", "whole number"),
        ("batch=1.5", "whole number"),
        ("batch=1e3", "whole number"),
        ("batch=٤", "whole number"),
        ("batch=99999999999", "at most 16,000,000"),
        ("a=1, a=2", "a has two"),
    ],
)
def test_a_bad_text(text: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said.replace("(", r"\(")) as caught:
        sizes.parse(text)
    assert caught.value.field == "sizes"


def test_a_name_that_the_model_does_not_have() -> None:
    with pytest.raises(
        InvalidValue, match=r"'batsh=4'; allowed: the model's dynamic dimensions: batch, seq\. Did you mean batch\?"
    ):
        sizes.check({"batsh": 4}, TEXT)
    with pytest.raises(InvalidValue, match="no dynamic dimension"):
        sizes.check({"batch": 4}, Signature((Value("x", "float32", (1, 2)),)))


def test_listed_sizes_are_examples_only() -> None:
    """A UNet of 4-fold sizes lists 12 and 20; 16, at which an export was fixed, is as good."""
    sizes.check({"h": 96}, Signature(PICTURE.inputs, (), {"h": (64, 128)}))


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        (PICTURE, {"n": 1, "h": 224, "w": 224}),
        (SILERO, {"batch": 1, "samples?": 16000}),
        (TEXT, {"batch": 1, "seq": 16}),
        (
            DECODER,
            {"batch": 1, "sequence_length": 16, "past_sequence_length + sequence_length": 32, "past_sequence_length": 16},
        ),
        (Signature(PICTURE.inputs, (), {"h": (64, 192), "w": (64, 192)}), {"n": 1, "h": 192, "w": 192}),
        (Signature(), {}),
    ],
)
def test_what_is_plausible(signature: Signature, found: dict[str, int]) -> None:
    assert sizes.propose(signature) == found


CASES = {
    "takes all": (PICTURE, lambda s: True, {"n": 1, "h": 64, "w": 64}, {"n": 3, "h": 96, "w": 128}),
    "multiples of 32 from 128": (PICTURE, lambda s: s["h"] % 32 == s["w"] % 32 == 0 and s["h"] >= 128, None, "all"),
    "224 only": (PICTURE, lambda s: s["h"] == s["w"] == 224, {"n": 1, "h": 224, "w": 224}, {"n": 3, "h": 224, "w": 224}),
    "640 only, one picture": (
        PICTURE,
        lambda s: (s["n"], s["h"], s["w"]) == (1, 640, 640),
        {"n": 1, "h": 640, "w": 640},
        None,
    ),
    "square": (PICTURE, lambda s: s["h"] == s["w"], {"n": 1, "h": 64, "w": 64}, {"n": 2, "h": 128, "w": 128}),
    "a window of 512": (
        SILERO,
        lambda s: s["samples?"] in (512, 576),
        {"batch": 1, "samples?": 512},
        {"batch": 3, "samples?": 512},
    ),
    "at least 400 samples": (SILERO, lambda s: s["samples?"] >= 400, {"batch": 1, "samples?": 512}, "all"),
    "a state whose batch has no name": (
        UNNAMED_SILERO,
        lambda s: s["input[0]"] == s["state[1]"] and s["input[1]"] == 512,
        {"input[0]": 1, "input[1]": 512, "state[1]": 1},
        {"input[0]": 2, "input[1]": 512, "state[1]": 2},
    ),
    "16,000 samples": (SILERO, lambda s: s["samples?"] >= 16000, {"batch": 1, "samples?": 16000}, "all"),
    "sequences of 512": (TEXT, lambda s: s["seq"] == 512, {"batch": 1, "seq": 512}, {"batch": 3, "seq": 512}),
    "even": (TEXT, lambda s: s["seq"] % 2 == 0, {"batch": 1, "seq": 8}, "all"),
    "two unnamed that are one": (
        UNNAMED,
        lambda s: s["left[0]"] == s["right[0]"] and s["left[1]"] == s["right[1]"] >= 16,
        {"left[0]": 1, "left[1]": 16, "right[0]": 1, "right[1]": 16},
        {"left[0]": 2, "left[1]": 32, "right[0]": 2, "right[1]": 32},
    ),
    "a sum": (
        DECODER,
        lambda s: s["past_sequence_length + sequence_length"] == s["past_sequence_length"] + s["sequence_length"],
        None,
        "all",
    ),
    "latents of a multiple of 8": (AUTOENCODER, lambda s: s["height"] % 8 == s["width"] % 8 == 0, None, "all"),
    "two at least": (TEXT, lambda s: s["batch"] >= 2, {"batch": 2, "seq": 8}, "all"),
}


@pytest.mark.parametrize("case", CASES)
def test_search(case: str) -> None:
    signature, takes, first, second = CASES[case]
    asked = []

    def accepts(given: dict[str, int]) -> str:
        asked.append(given)
        return "" if takes(given) else f"I do not take\n  {given}"

    found = sizes.search(signature, {}, accepts)
    assert found.accepted and takes(found.sizes) and found.tried == len(asked) <= sizes.MAX_TRIES
    assert all(asked.count(one) == 1 for one in asked)  # nothing is tried twice
    assert [s for s, _ in found.refused] == [s for s in asked if not takes(s)]
    if first is not None:
        assert found.sizes == first
    if second == "all":
        assert found.second is not None and takes(found.second)
        derived = [s for s in found.sizes if "+" in s]
        assert all(found.sizes[s] != found.second[s] for s in found.sizes if s not in derived)
    else:
        assert found.second == second
    assert ("found by trial" in found.note) == (found.before > 0) and "\n" not in found.note
    assert sizes.sizes_text(found.sizes) in found.note


def test_given_sizes_are_kept() -> None:
    asked = []
    found = sizes.search(PICTURE, {"h": 77}, lambda s: asked.append(s) or ("" if s["w"] >= 96 else "narrow"))
    assert {s["h"] for s in asked} == {77} and found.sizes["w"] == 224 and found.second is not None
    assert sizes.search(PICTURE, {"n": 1, "h": 8, "w": 9}, lambda s: "").note.endswith("as given.")


def test_a_model_that_takes_nothing() -> None:
    found = sizes.search(TEXT, {}, lambda s: "no operator Foo here")
    assert not found.accepted and found.sizes == {} and found.second is None and found.tried <= sizes.MAX_TRIES
    assert "takes none of them" in found.note and "no operator Foo here" in found.note
    assert not sizes.search(Signature((Value("x", "float32", (1,)),)), {}, lambda s: "broken").accepted


def test_a_model_of_fixed_sizes_is_asked_once() -> None:
    asked = []
    found = sizes.search(Signature((Value("x", "float32", (1,)),)), {}, lambda s: asked.append(s) or "")
    assert found.accepted and asked == [{}] and found.note == "" and found.second is None


@pytest.mark.parametrize(
    ("takes", "ranges"),
    [
        (
            lambda s, r: r["lengths"][1] <= s["t"] and r["lengths"][0] >= 1,
            {"lengths": (4, 8), "trip_count": (1, 3), "sr": (16000, 16000), "y": (0, 9)},
        ),
        (lambda s, r: r["y"] == (1, 1), {"lengths": (1, 1), "trip_count": (1, 1), "sr": (16000, 16000), "y": (1, 1)}),
        (lambda s, r: r["y"] == (0, 0), {"lengths": (0, 0), "trip_count": (0, 0), "sr": (8000, 8000), "y": (0, 0)}),
    ],
)
def test_integers_that_are_refused_are_tried_again(takes, ranges: dict[str, tuple[int, int]]) -> None:  # type: ignore[no-untyped-def]
    numbers = [
        Value("lengths", "int64", ("n",)),
        Value("trip_count", "int64", ()),
        Value("sr", "int64", ()),
        Value("y", "int32", (2,)),
    ]
    signature = Signature((Value("x", "float32", ("n", "t", 8)), *numbers))
    found = sizes.search(signature, {}, lambda s, r: "" if takes(s, r) else "out of range", integers_too=True)
    assert found.accepted and found.integers == ranges and found.sizes == {"n": 1, "t": 8}
    made = made_up.inputs(signature, found.sizes, np.random.default_rng(0), found.integers)
    assert all(low <= made[n].min() and made[n].max() <= high for n, (low, high) in ranges.items())


def test_another_sample_rate() -> None:
    found = sizes.search(
        SILERO, {"samples?": 256}, lambda s, r: "" if r["sr"] == (8000, 8000) else "too short", integers_too=True
    )
    assert found.accepted and found.integers == {"sr": (8000, 8000)} and found.sizes == {"batch": 1, "samples?": 256}
    assert found.second == {"batch": 3, "samples?": 256}


def test_a_real_runtime_that_wants_at_least_512() -> None:
    """A kernel of 512 over a free axis: onnxruntime itself refuses what is smaller."""
    shape = [helper.make_tensor_value_info("y", T.FLOAT, ["b", 1, "u"])]
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[512])
    held = helper.make_tensor("w", T.FLOAT, (1, 1, 512), np.ones(512))
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", T.FLOAT, ["b", 1, "t"])], shape, [held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    signature = Signature((Value("x", "float32", ("b", 1, "t")),))

    def accepts(given: dict[str, int]) -> str:
        try:
            session.run(None, made_up.inputs(signature, given, np.random.default_rng(0)))
        except Exception as error:
            return str(error)
        return ""

    found = sizes.search(signature, {}, accepts)
    assert found.accepted and found.sizes["t"] >= 512 and found.second is not None and found.before > 0


def test_a_real_runtime_that_wants_multiples_of_128() -> None:
    """Seven times halved and doubled again, then added to the input, as in a U-Net: other sizes do not fit."""
    nodes, name = [], "x"
    for k in range(7):
        nodes.append(helper.make_node("MaxPool", [name], [f"p{k}"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1))
        name = f"p{k}"
    for k in range(7):
        nodes.append(helper.make_node("Resize", [name, "", "scales"], [f"u{k}"], mode="nearest"))
        name = f"u{k}"
    nodes.append(helper.make_node("Add", ["x", name], ["y"]))
    shape = ["b", 3, "h", "w"]
    values = [helper.make_tensor_value_info(n, T.FLOAT, shape) for n in "xy"]
    held = helper.make_tensor("scales", T.FLOAT, [4], [1, 1, 2, 2])
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    signature = Signature((Value("x", "float32", tuple(shape)),))

    def accepts(given: dict[str, int]) -> str:
        try:
            session.run(None, made_up.inputs(signature, given, np.random.default_rng(0)))
        except Exception as error:
            return str(error)
        return ""

    found = sizes.search(signature, {}, accepts)
    assert found.accepted and found.before and found.sizes["h"] % 128 == found.sizes["w"] % 128 == 0
    assert found.second is not None and found.second["h"] != found.second["w"]


def test_kinds_of_dimensions() -> None:
    assert dimensions.kinds(DECODER)["past_sequence_length"] == "past"
    assert dimensions.kinds(SILERO) == {"batch": "batch", "samples?": "wave"}
    assert dimensions.kinds(AUTOENCODER) == {"batch": "batch", "height": "latent", "width": "latent"}
    assert set(dimensions.kinds(UNNAMED).values()) == {"batch", "sequence"}


@pytest.mark.parametrize(
    ("symbol", "size"),
    [("2*h", 10), ("h + w", 12), ("2*h + 1", 11), ("h", None), ("2*z", None), ("total_sequence_length", None)],
)
def test_derived(symbol: str, size: int | None) -> None:
    assert dimensions.derived(symbol, {"h": 5, "w": 7}) == size
