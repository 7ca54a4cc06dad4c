"""ONNX text to a model and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lib.errors import InvalidFile
from lib.onnx_inspect import build
from lib.onnx_inspect.catalogue import LINEAR, LOOP, SCALED
from lib.onnx_inspect.compare import compare
from lib.onnx_inspect.examples import EXAMPLES
from lib.onnx_model.open import Model, open_model
from tests.onnx_inspect.make import opened


def built(text: str, folder: Path, name: str = "built.onnx") -> Model:
    return open_model(build.parse(text, folder / name), {})


@pytest.mark.parametrize("text", [LINEAR, LOOP, SCALED], ids=["linear", "loop", "functions"])
def test_text_to_model_to_text(text: str, tmp_path: Path) -> None:
    first = built(text, tmp_path)
    onnx.checker.check_model(first.proto, full_check=True)
    shown = build.to_text(first)
    again = built(shown, tmp_path, "again.onnx")
    assert build.to_text(again) == shown
    assert again.proto == first.proto


@pytest.mark.parametrize("name", ["transformer-block", "digits", "troubled"])
def test_a_model_made_elsewhere_comes_back_the_same_where_it_is_small(name: str, tmp_path: Path) -> None:
    model = opened(EXAMPLES[name](), tmp_path)
    if name != "troubled":
        with pytest.raises(InvalidFile, match="kB of weights; up to 64 kB are shown as text"):
            build.to_text(model)
    else:  # weights that the skeleton left out are in the text
        again = built(build.to_text(model), tmp_path)
        rows = compare(model, again, 1e-6, 0)["rows"]
        assert [r for r in rows if r["kind"] in ("input", "output", "initializer")] == []


def test_the_weights_that_are_shown(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)  # over what the skeleton keeps
    values = [helper.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 20), ("y", 30))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [numpy_helper.from_array(weight, "w")]
    )
    model = opened(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path)
    again = built(build.to_text(model), tmp_path)
    np.testing.assert_allclose(again.array(again.proto.graph.initializer[0]), weight, rtol=1e-5)
    assert model.proto.graph.initializer[0].external_data  # what was opened is as it was


ERRORS = {
    "": "There is no text. A model begins like",
    " \n\t": "There is no text.",
    "hello": "Syntax error in the ONNX text",
    "g (float[2] x) => (float[2] y) {y = }": "Syntax error in the ONNX text",
    LINEAR.replace("Add(XA, B)", "Add(XA, B"): "line 16, column",
    LINEAR.replace("MatMul(", "MatMul["): "line 14, column",
    LINEAR.replace("float[4, 3]", "flaot[4, 3]"): "line 10, column",
    LINEAR + "}": "Syntax error in the ONNX text",
    "x" * (build.MAX_TEXT + 1): "The text has 200,001 characters; at most 200,000 are parsed",
    "\ud800": "characters that cannot be encoded",
}


@pytest.mark.parametrize("text", ERRORS, ids=range(len(ERRORS)))
def test_errors_say_where(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFile) as error:
        built(text, tmp_path)
    assert ERRORS[text] in error.value.message and len(error.value.message) < 500
    assert "parser.cc" not in error.value.message and str(tmp_path) not in error.value.message
    assert not (tmp_path / "built.onnx").exists()
