"""What a model does to its pictures first says which values it wants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from lib.onnx_model import hints
from lib.onnx_model.signature import signature

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)


def model(*steps: tuple[str, float | np.ndarray | None], dtype: int = T.FLOAT, constants: bool = False) -> onnx.ModelProto:
    """Operators with one constant each, then a convolution."""
    nodes, held, name = [], [numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")], "x"
    for k, (op, value) in enumerate(steps):
        inputs, more = [name], {}
        if op == "Cast":
            more = {"to": T.FLOAT}
        elif op == "BatchNormalization":
            for n, v in zip(("s", "b", "m", "v"), value, strict=True):  # type: ignore[arg-type]
                held.append(numpy_helper.from_array(np.full(3, v, np.float32), n))
            inputs += ["s", "b", "m", "v"]
        else:
            tensor = numpy_helper.from_array(np.array(value, np.float32), f"c{k}")
            if constants:
                nodes.append(helper.make_node("Constant", [], [f"c{k}"], value=tensor))
            else:
                held.append(tensor)
            inputs.append(f"c{k}")
        nodes.append(helper.make_node(op, inputs, [f"y{k}"], **more))
        name = f"y{k}"
    nodes.append(helper.make_node("Conv", [name, "w"], ["y"]))
    x = helper.make_tensor_value_info("x", dtype, ["n", 3, 32, 32])
    y = helper.make_tensor_value_info("y", T.FLOAT, ["n", 4, 30, 30])
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y], held), opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(made)
    return made


CASES = {
    "nothing": ((), None),
    "divided by 255": ((("Div", 255.0),), "0..255"),
    "times 1/255": ((("Mul", 1 / 255),), "0..255"),
    "to -1..1": ((("Div", 127.5), ("Sub", 1.0)), "0..255"),
    "Lite's": ((("Sub", 127.0), ("Div", 128.0)), "0..255"),
    "pixels by ImageNet": ((("Div", 255.0), ("Sub", MEAN), ("Div", STD)), "0..255"),
    "ImageNet": ((("Sub", MEAN), ("Div", STD)), "0..1"),
    "doubled, less one": ((("Mul", 2.0), ("Sub", 1.0)), "0..1"),
    "Caffe's": ((("Sub", 120.0),), "0..255"),
    "a norm of pixels": ((("BatchNormalization", (1.0, 0.0, 120.0, 3600.0)),), "0..255"),
    "a norm of what is normal": ((("BatchNormalization", (1.0, 0.0, 0.0, 1.0)),), None),
    "by zero": ((("Div", 0.0),), None),
    "not finite": ((("Mul", np.inf),), None),
    "turned over": ((("Mul", -1.0),), None),
}


@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_normalization(case: str, constants: bool) -> None:
    steps, found = CASES[case]
    assert hints.normalization(model(*steps, constants=constants), "x") == found


def test_bytes_that_are_cast_first() -> None:
    assert hints.normalization(model(("Cast", None), ("Div", 255.0), dtype=T.UINT8), "x") == "0..255"


def test_all_that_a_model_says() -> None:
    made = model(("Div", 255.0))
    helper.set_model_props(made, {"labels": '["cat", "dog"]', "input": "RGB, 0 to 255"})
    found = hints.of(made, signature(made))
    assert found == {"labels": ["cat", "dog"], "input": "RGB, 0 to 255", "normalization": "0..255"}
    assert hints.of(model(), signature(model())) == {}
