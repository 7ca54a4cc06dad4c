"""ONNX to an exported program: names, dynamic sizes and values are kept, and a wrong program is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

from lib.convert.core.torch_values import from_numpy, to_numpy
from lib.convert.formats import load
from lib.convert.formats.onnx.files import opened
from lib.convert.proof import cases as proof_cases
from lib.convert.tools import onnx_importer
from lib.convert.tools.onnx_importer import checked_export
from lib.convert.tools.onnx_importer.unsupported import Unsupported
from lib.errors import InvalidFile, JobFailed
from tests.convert import models
from tests.convert.edge_run import convert

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def worst(source: Path, target: Path) -> float:
    """The largest difference over every made input, relative to the output's largest value."""
    a, b = load("onnx", source), load("pt2", target)
    found = []
    for case in proof_cases.cases(a.signature()):
        expected, got = a.run(case.arrays), b.run(case.arrays)
        assert list(got) == list(expected)
        found += [models.error(got[name], expected[name]) for name in expected]
    return max(found)


@pytest.mark.parametrize("name", ["conv_net", "mlp", "attention"])
def test_a_network_keeps_its_names_its_dynamic_sizes_and_its_values(name: str, tmp_path: Path) -> None:
    source = models.save(getattr(models, name)(), tmp_path / "onnx")
    result = convert("onnx", "pt2", source, tmp_path / "pt2")
    assert result["messages"] == []
    assert result["fixed"] == {}
    ours, theirs = load("pt2", tmp_path / "pt2").signature(), load("onnx", source).signature()
    assert ours.inputs == theirs.inputs
    assert [v.name for v in ours.outputs] == [v.name for v in theirs.outputs]
    assert worst(source, tmp_path / "pt2") < 1e-5


def single(
    op: str, inputs: list, outputs: list, weights: dict[str, np.ndarray], opset: int = 20, **attributes: object
) -> ModelProto:
    names = [i[0] for i in inputs] + list(weights)
    node = helper.make_node(op, names, [o[0] for o in outputs], **attributes)
    return models.made([node], inputs, outputs, weights, opset)


@pytest.mark.parametrize("directions", [1, 2])
def test_the_last_state_of_an_lstm(directions: int, tmp_path: Path) -> None:
    """As exporters write ``h[-1]``: a Gather with a scalar. Batches of one hide a dimension too many."""
    rng = np.random.default_rng(0)
    shapes = {"w": (directions, 16, 3), "r": (directions, 16, 4), "b": (directions, 32)}
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()} | {"last": np.int64(-1)}
    way = "bidirectional" if directions == 2 else "forward"
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b"], ["", "h", "c"], hidden_size=4, direction=way),
        helper.make_node("Gather", ["h", "last"], ["y"]),
    ]
    outputs = [("y", FLOAT, ["n", 4]), ("c", FLOAT, [directions, "n", 4])]
    source = models.save(models.made(nodes, [("x", FLOAT, [5, "n", 3])], outputs, weights, 17), tmp_path / "onnx")
    result = convert("onnx", "pt2", source, tmp_path / "pt2")
    assert result["fixed"] == {} and worst(source, tmp_path / "pt2") < 1e-5


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {"activations": ["Sigmoid", "LeakyRelu", "Tanh"], "activation_alpha": [0.3]}),
        (
            "LSTM",
            {"activations": ["HardSigmoid", "Tanh", "LeakyRelu"], "activation_alpha": [0.3, 0.2], "activation_beta": [0.4]},
        ),
        ("GRU", {"activations": ["Sigmoid", "Elu"], "activation_alpha": [0.3]}),
        ("RNN", {"activations": ["Tanh", "LeakyRelu"], "activation_alpha": [0.3], "direction": "bidirectional"}),
        ("RNN", {"activations": ["HardSigmoid"]}),
    ],
)
def test_parameters_of_a_recurrent_node_s_activations(op: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    """They are listed in order, only for the activations that have one."""
    rng, gates = np.random.default_rng(0), {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    directions = 2 if "direction" in attributes else 1
    shapes = {"w": (directions, gates * 4, 3), "r": (directions, gates * 4, 4), "b": (directions, gates * 8)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    outputs = [("y", FLOAT, [5, directions, "n", 4])]
    model = single(op, [("x", FLOAT, [5, "n", 3])], outputs, weights, 17, hidden_size=4, **attributes)
    source = models.save(model, tmp_path / "onnx")
    convert("onnx", "pt2", source, tmp_path / "pt2")
    assert worst(source, tmp_path / "pt2") < 1e-5


def test_one_element_by_a_scalar_index(tmp_path: Path) -> None:
    model = single("Gather", [("x", FLOAT, [3])], [("y", FLOAT, [])], {"k": np.int64(1)})
    source = models.save(model, tmp_path / "onnx")
    convert("onnx", "pt2", source, tmp_path / "pt2")
    assert load("pt2", tmp_path / "pt2").run({"x": np.float32([1, 2, 3])})["y"].tolist() == 2


def test_a_small_difference_of_large_numbers_is_taken(tmp_path: Path) -> None:
    """1e-6 beside a peak of 1e-4 is the last digit of what it is a difference of; 1e-5 is not."""
    expected = {"y": np.float32([1e-4, 5e-5])}
    checked_export.differs({"y": np.float32([1e-4 + 9e-7, 5e-5])}, expected)
    with pytest.raises(checked_export.Disagrees):
        checked_export.differs({"y": np.float32([1.1e-4, 5e-5])}, expected)


def test_sizes_that_were_found(tmp_path: Path) -> None:
    """A model that takes no other width than 24, which no made-up input has."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    weights = {"shape": np.array([-1, 24], np.int64), "w": np.eye(24, 3, dtype=np.float32), "row": np.zeros(24, np.float32)}
    nodes.insert(0, helper.make_node("Add", ["given", "row"], ["x"]))
    model = models.made(nodes, [("given", FLOAT, ["n", "width"])], [("y", FLOAT, ["m", 3])], weights, 17)
    folder = models.save(model, tmp_path / "onnx")
    from lib.convert.edges.onnx_to_pt2 import convert as edge

    (tmp_path / "pt2").mkdir()
    edge(lambda *_: None, folder, tmp_path / "pt2", {"sizes": {"n": 2, "width": 24}})
    assert (tmp_path / "pt2" / "model.pt2").is_file()


def test_a_shape_that_is_an_input_needs_sample_inputs(tmp_path: Path) -> None:
    model = single("Reshape", [("x", FLOAT, [4, 3]), ("shape", INT, [2])], [("y", FLOAT, ["a", "b"])], {})
    source = models.save(model, tmp_path / "onnx")
    with pytest.raises(JobFailed):
        convert("onnx", "pt2", source, tmp_path / "without")
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "sample.npz", x=x, shape=np.array([2, 6]))
    result = convert("onnx", "pt2", source, tmp_path / "with", sample=str(tmp_path / "sample.npz"))
    assert "Values of the sample inputs determine shapes in Reshape" in " ".join(result["messages"])
    runner = load("pt2", tmp_path / "with")
    assert np.array_equal(runner.run({"x": x, "shape": np.array([2, 6])})["y"], x.reshape(2, 6))
    with pytest.raises(JobFailed, match="exported for other values"):
        runner.run({"x": x, "shape": np.array([6, 2])})


def test_a_program_that_is_wrong_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor]:
            return (torch.relu(inputs[0]) + 1e-2,)

    monkeypatch.setattr(onnx_importer, "load", lambda model: Off())
    source = models.save(single("Relu", [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])], {}), tmp_path / "onnx")
    with pytest.raises(JobFailed, match=r"Could not make a program that agrees .* 'y' differs by up to"):
        convert("onnx", "pt2", source, tmp_path / "pt2")
    assert not (tmp_path / "pt2" / "model.pt2").exists()


def test_an_operator_on_strings(tmp_path: Path) -> None:
    node = helper.make_node("StringNormalizer", ["s"], ["t"])
    model = models.made([node], [("s", TensorProto.STRING, [2])], [("t", TensorProto.STRING, [2])], {}, 20)
    source = models.save(model, tmp_path / "onnx")
    with pytest.raises((JobFailed, InvalidFile)):
        convert("onnx", "pt2", source, tmp_path / "pt2")
    assert not (tmp_path / "pt2" / "model.pt2").exists()


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (np.float32([1, 2]), np.float32([1, 2.01]), "differs by up to 0.01"),
        (np.int64([1, 2]), np.int64([1, 3]), "1 of 2 values"),
        (np.int32([1]), np.int64([1]), "is int32"),
        (np.float32([1]), np.float32([[1]]), r"\[1\], ONNX has float32 \[1, 1\]"),
        (np.float32([np.nan]), np.float32([1]), "differs"),
        (np.float32([1]), np.float32([np.inf]), "differs"),
    ],
)
def test_what_counts_as_different(a: np.ndarray, b: np.ndarray, why: str) -> None:
    checked_export.differs({"y": b.copy()}, {"y": b})
    with pytest.raises(checked_export.Disagrees, match=why):
        checked_export.differs({"y": a}, {"y": b})


def test_the_module_itself_takes_any_shape_input(tmp_path: Path) -> None:
    """Not exported, our own importer reads the values of its inputs as it runs."""
    model = single("Reshape", [("x", FLOAT, [4, 3]), ("shape", INT, [2])], [("y", FLOAT, ["a", "b"])], {})
    module = onnx_importer.load(opened(models.save(model, tmp_path / "onnx")))
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for shape in ([2, 6], [6, -1]):
        (y,) = module(from_numpy(x), torch.tensor(shape))
        assert np.array_equal(to_numpy(y), x.reshape(shape))


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", FLOAT, [1])], [helper.make_tensor_value_info("y", FLOAT, [1])]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("org.example", 1)]
    (tmp_path / "onnx").mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "onnx" / "model.onnx"))
    module = onnx_importer.load(opened(tmp_path / "onnx"))
    with pytest.raises(Unsupported, match=r"unsupported operator org\.example::Frobnicate"):
        module(torch.zeros(1))


def calibrated(model: torch.nn.Module, *shape: int) -> torch.nn.Module:
    """Batch norms that have seen data: with fresh ones the outputs hardly move with the input, and any check passes."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the mean of all batches: torchvision's 0.01 would keep what they started with
    with torch.no_grad():
        for _ in range(4):
            model.train()(torch.randn(*shape))
    return model.eval()


def written(
    model: torch.nn.Module, folder: Path, given: tuple, inputs: list[str], outputs: list[str], shapes: object
) -> Path:
    folder.mkdir()
    program = torch.onnx.export(
        model, given, dynamo=True, input_names=inputs, output_names=outputs, dynamic_shapes=shapes, verbose=False
    )
    assert program is not None
    program.save(str(folder / "model.onnx"))
    return folder


@pytest.mark.slow
def test_mobilenet_v3_small_with_a_dynamic_batch(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    model = calibrated(torchvision.models.mobilenet_v3_small(num_classes=10), 8, 3, 64, 64)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    source = written(model, tmp_path / "onnx", (torch.zeros(2, 3, 64, 64),), ["image"], ["scores"], shapes)
    result = convert("onnx", "pt2", source, tmp_path / "pt2")
    assert (result["messages"], result["fixed"]) == ([], {})
    x = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        expected = model(x).numpy()
    got = load("pt2", tmp_path / "pt2").run({"image": x.numpy()})["scores"]
    assert np.abs(expected.std(0)).max() > 1e-3  # the outputs move with the input
    assert models.error(got, expected) < 1e-4


@pytest.mark.slow
def test_a_tiny_bert_with_dynamic_batch_and_length(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
        max_position_embeddings=64, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    inner = transformers.BertModel(config).eval()

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out = self.inner(input_ids=input_ids, attention_mask=attention_mask)
            return out.last_hidden_state, out.pooler_output

    dims = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("sequence", min=2, max=64)}
    given = (torch.zeros(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.int64))
    names = ["input_ids", "attention_mask"]
    source = written(Flat().eval(), tmp_path / "onnx", given, names, ["hidden", "pooled"], (dims, dims))
    result = convert("onnx", "pt2", source, tmp_path / "pt2")
    assert (result["messages"], result["fixed"]) == (["The program accepts sequence up to 64."], {})
    ids, mask = torch.randint(0, 99, (3, 17)), torch.ones(3, 17, dtype=torch.int64)
    mask[1, 10:] = 0
    with torch.no_grad():
        expected = Flat()(ids, mask)
    got = load("pt2", tmp_path / "pt2").run({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    assert models.error(got["hidden"], expected[0].numpy()) < 1e-4
    assert models.error(got["pooled"], expected[1].numpy()) < 1e-4
