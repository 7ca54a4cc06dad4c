"""Errors planted into converted files, each as a converter's bug would: none may be proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.convert.worker import entrypoints
from tests.convert.models import attention, conv_net, mlp, save


def progress(*_: Any) -> None:
    pass


def proof(source: ModelProto, target: ModelProto, folder: Path, precision: str = "fp32") -> dict[str, Any]:
    """As a conversion does it, from artifact to verdict."""
    a, b = str(save(source, folder / "a")), str(save(target, folder / "b"))
    asked, answered = folder / "asked", folder / "answered"
    asked.mkdir()
    answered.mkdir()
    said = entrypoints.run_source(progress, format="onnx", folder=a, out=str(asked), seeds=[0, 1, 2], sizes={})
    names: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
    files = {"source_runs": str(asked), "out": str(answered)}
    given = entrypoints.run_target(
        progress, format="onnx", folder=b, **files, cases=said["cases"], source=said["signature"], names=names
    )
    answer = {"folder": str(answered), "refused": given["refused"], "reference": given["reference"]}
    judged = entrypoints.compare(
        progress,
        source_runs=str(asked),
        answers=[answer],
        cases=said["cases"],
        precisions=[precision],
        deterministic=said["steady"],
        inputs=True,
        lossy=lossy(said, a, b, precision),
    )
    return judged["whole"]


def lossy(said: dict[str, Any], source: str, target: str, precision: str) -> dict[str, Any] | None:
    """What a conversion says of its last hop where that rounds."""
    format = {"fp16": "onnx-fp16", "int8": "onnx-int8-static"}.get(precision)
    if format is None:
        return None
    same = {side: {v["name"]: v["name"] for v in said["signature"][side]} for side in ("inputs", "outputs")}
    dtypes = {v["name"]: v["dtype"] for v in said["signature"]["inputs"]}
    return {"format": format, "source": source, "target": target, "dtypes": dtypes} | same


def weight(model: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> ModelProto:
    for held in model.graph.initializer:
        if held.name == name:
            held.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(held).copy()), name))
            return model
    raise AssertionError(name)


def at(index: int, change: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def changed(value: np.ndarray) -> np.ndarray:
        value.reshape(-1)[index] = change(value.reshape(-1)[index])
        return value

    return changed


def drop(model: ModelProto, name: str) -> ModelProto:
    """The node goes; what it read takes its place."""
    node = next(n for n in model.graph.node if n.name == name)
    for other in model.graph.node:
        for k, used in enumerate(other.input):
            if used == node.output[0]:
                other.input[k] = node.input[0]
    model.graph.node.remove(node)
    return model


def insert_before_output(model: ModelProto, nodes: Callable[[str, str], list[onnx.NodeProto]]) -> ModelProto:
    output = model.graph.output[0].name
    last = next(n for n in model.graph.node if output in n.output)
    last.output[0] = "before"
    model.graph.node.extend(nodes("before", output))
    return model


def bake_batch(model: ModelProto) -> ModelProto:
    """Batch 1 written into the shape, as a tracer that forgot the dynamic axis does."""
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model


def bake_reshape(model: ModelProto) -> ModelProto:
    """The declared batch stays free, but a Reshape has the traced one inside: rows are mixed at another size."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1], np.int64), "traced"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 4], np.int64), "back"))

    def nodes(a: str, b: str) -> list[onnx.NodeProto]:
        softmax = helper.make_node("Softmax", ["flat"], ["soft"], axis=1)
        return [
            helper.make_node("Reshape", [a, "traced"], ["flat"]),
            softmax,
            helper.make_node("Reshape", ["soft", "back"], [b]),
        ]

    return insert_before_output(model, nodes)


def softmax(model: ModelProto) -> ModelProto:
    return insert_before_output(model, lambda a, b: [helper.make_node("Softmax", [a], [b], axis=1)])


def dropout(model: ModelProto) -> ModelProto:
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "ratio"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    return insert_before_output(model, lambda a, b: [helper.make_node("Dropout", [a, "ratio", "training"], [b])])


def ignore_input(model: ModelProto) -> ModelProto:
    return insert_before_output(
        model, lambda a, b: [helper.make_node("Sub", [a, a], ["nothing"]), helper.make_node("Add", ["nothing", "b2"], [b])]
    )


def transposed_layout(model: ModelProto) -> ModelProto:
    """The image is read as [n, c, w, h]."""
    model.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 1, 3, 2]))
    next(n for n in model.graph.node if n.name == "conv1").input[0] = "turned"
    return model


def half_constant(model: ModelProto) -> ModelProto:
    return weight(model, "w1", lambda w: w.astype(np.float16).astype(np.float32))


def other_name_order(model: ModelProto) -> ModelProto:
    """Mask and ids change places, under the same names."""
    for node in model.graph.node:
        for k, used in enumerate(node.input):
            node.input[k] = {"input_ids": "attention_mask", "attention_mask": "input_ids"}.get(used, used)
    return model


def no_mask(model: ModelProto) -> ModelProto:
    """The mask is taken and ignored: only inputs with padding show it."""
    return drop(model, "Add_masked")


PLANTED: dict[str, tuple[Callable[..., ModelProto], Callable[[ModelProto], ModelProto]]] = {
    "sign of one weight, first layer": (conv_net, lambda m: weight(m, "conv1.weight", at(5, lambda w: -w))),
    "sign of one weight, middle layer": (conv_net, lambda m: weight(m, "conv2.weight", at(500, lambda w: -w))),
    "sign of one weight, last layer": (conv_net, lambda m: weight(m, "fc.weight", at(1234, lambda w: -w))),
    "one weight of an embedding": (attention, lambda m: weight(m, "wv", at(3, lambda w: -w))),
    "transposed weight": (mlp, lambda m: weight(m, "w1", lambda w: w.T.copy())),
    "transposed layout": (conv_net, transposed_layout),
    "a dropped activation": (conv_net, lambda m: drop(m, "relu1")),
    "a dropped batch norm": (conv_net, lambda m: drop(m, "bn2")),
    "a dropped bias": (mlp, lambda m: drop(m, "add1")),
    "epsilon of a batch norm": (conv_net, lambda m: weight(m, "bn1.var", lambda v: v + 1e-3)),
    "a constant folded in float16": (mlp, half_constant),
    "an output that ignores its input": (mlp, ignore_input),
    "dropout left on": (mlp, dropout),
    "batch baked into the shapes": (mlp, bake_batch),
    "batch baked into a Reshape": (lambda: softmax(mlp()), bake_reshape),
    "inputs in another order": (attention, other_name_order),
    "the mask ignored": (attention, no_mask),
    "average instead of max pooling": (
        conv_net,
        lambda m: setattr(next(n for n in m.graph.node if n.name == "pool1"), "op_type", "AveragePool") or m,
    ),
    "tanh for relu": (mlp, lambda m: setattr(next(n for n in m.graph.node if n.name == "act0"), "op_type", "Tanh") or m),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_error_is_never_proven(name: str, tmp_path: Path) -> None:
    build, plant = PLANTED[name]
    found = proof(build(), plant(build()), tmp_path)
    assert found["verdict"] != "proven", found
    assert found["reason"]


@pytest.mark.parametrize("build", [conv_net, mlp, attention, lambda: softmax(mlp())])
def test_without_an_error_it_is_proven(build: Callable[..., ModelProto], tmp_path: Path) -> None:
    """Else the tests above could pass by a proof that never proves."""
    found = proof(build(), build(), tmp_path)
    assert found["verdict"] == "proven", found["reason"]


def test_another_order_of_additions_is_proven(tmp_path: Path) -> None:
    """What an honest converter does: the batch norm folded into the convolution before it."""
    target = conv_net()
    held = {t.name: numpy_helper.to_array(t) for t in target.graph.initializer}
    for k in (1, 2):
        scale = held[f"bn{k}.weight"] / np.sqrt(held[f"bn{k}.var"] + 1e-5)
        weight(target, f"conv{k}.weight", lambda w, scale=scale: (w * scale[:, None, None, None]).astype(np.float32))
        bias = (held[f"bn{k}.bias"] - held[f"bn{k}.mean"] * scale).astype(np.float32)
        target.graph.initializer.append(numpy_helper.from_array(bias, f"conv{k}.bias"))
        next(n for n in target.graph.node if n.name == f"conv{k}").input.append(f"conv{k}.bias")
        drop(target, f"bn{k}")
    found = proof(conv_net(), target, tmp_path)
    assert found["verdict"] == "proven", found["reason"]
    assert found["range_error"] < 5e-6


@pytest.mark.parametrize("name", ["sign of one weight, last layer", "transposed layout", "a dropped activation"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_gross_errors_show_at_every_precision(name: str, precision: str, tmp_path: Path) -> None:
    build, plant = PLANTED[name]
    grow = {"sign of one weight, last layer": lambda m: weight(m, "fc.weight", lambda w: np.where(w > 0.1, -w, w))}
    found = proof(build(), grow.get(name, plant)(build()), tmp_path, precision)
    assert found["verdict"] == "failed", found


def test_a_source_with_default_weights_is_vacuous(tmp_path: Path) -> None:
    """Batch norms that nobody calibrated squash everything: any target would pass."""

    def still() -> ModelProto:
        return weight(mlp(), "w0", lambda w: w * 1e-6)

    found = proof(still(), still(), tmp_path)
    assert found["verdict"] == "unproven"
    assert "vacuous" in found["reason"]


def test_a_random_source_is_unproven(tmp_path: Path) -> None:
    found = proof(dropout(mlp()), dropout(mlp()), tmp_path)
    assert found["verdict"] != "proven"


def test_types_of_outputs_count(tmp_path: Path) -> None:
    target = mlp()
    target.graph.node.append(helper.make_node("Cast", ["y"], ["half"], to=TensorProto.FLOAT16))
    target.graph.output[0].CopyFrom(helper.make_tensor_value_info("half", TensorProto.FLOAT16, ["batch", 4]))
    found = proof(mlp(), target, tmp_path)
    assert found["verdict"] != "proven"
