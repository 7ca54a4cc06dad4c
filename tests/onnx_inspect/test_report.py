"""The report: the contract's fields, JSON, and Markdown that stays harmless whatever a model calls its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lib.onnx_inspect import run
from lib.onnx_inspect.examples import EXAMPLES, cnn
from lib.onnx_inspect.markdown import markdown
from lib.onnx_inspect.report import Problem, facts, human, incomplete, shape_text, size, verdict
from lib.onnx_inspect.summary import summarise
from lib.onnx_model.open import open_model
from tests.onnx_inspect.make import opened, parsed, report

CONTRACT = """valid problems ir_version opset_imports producer doc_string model_version metadata inputs outputs parameters
    operators macs nodes""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_contract(name: str, tmp_path: Path) -> None:
    found = report(EXAMPLES[name](), tmp_path)
    assert [field for field in CONTRACT if field not in found] == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["valid"] is True and all(p.keys() >= {"severity", "where", "message"} for p in found["problems"])
    for value in found["inputs"] + found["outputs"]:
        assert value.keys() >= {"name", "dtype", "shape"}
    assert sum(found["operators"].values()) == len(found["nodes"])
    assert sum(v["count"] for v in found["parameters"]["by_dtype"].values()) == found["parameters"]["count"]
    assert sum(v["bytes"] for v in found["parameters"]["by_dtype"].values()) == found["parameters"]["bytes"]


def test_the_digits(tmp_path: Path) -> None:
    model = cnn()
    model.model_version, model.doc_string, model.domain = 7, "Reads digits.", "org.example"
    model.metadata_props.add(key="author", value="someone")
    found = report(model, tmp_path)
    parameters = 16 * 9 + 16 + 32 * 16 * 9 + 32 + 10 * 1568 + 10
    expected: dict[str, Any] = {
        "valid": True,
        "problems": [],
        "ir_version": 8,
        "opset_imports": {"ai.onnx": 20},
        "producer": "model-workbench 1",
        "doc_string": "Reads digits.",
        "model_version": 7,
        "domain": "org.example",
        "graph": "digits",
        "metadata": {"author": "someone"},
        "inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 28, 28], "doc": ""}],
        "outputs": [{"name": "scores", "dtype": "float32", "shape": ["batch", 10], "doc": ""}],
        "symbols": {"batch": {"value": 1, "at": ["image[0]"]}},
        "operators": {"Conv": 2, "Relu": 2, "MaxPool": 2, "Flatten": 1, "Gemm": 1},
        "functions": [],
        "subgraphs": [],
        "not_counted": [],
    }
    assert {k: found[k] for k in expected} == expected
    assert found["parameters"] == {
        "count": parameters,
        "bytes": 4 * parameters,
        "by_dtype": {"float32": {"count": parameters, "bytes": 4 * parameters}},
        "initializers": parameters,
        "constants": 0,
    }
    assert found["file"] == {"name": "model.onnx", "bytes": model.ByteSize(), "external": [], "beside": {}}
    assert found["initializers"][0] == {
        "name": "fc.weight", "dtype": "float32", "shape": [10, 1568], "count": 15680, "bytes": 62720,
        "used_by": ["/fc"], "uses": 1, "sparse": False, "constant": False, "external": "",
    }  # fmt: skip
    assert [n["output_shapes"][0] for n in found["nodes"]][-2:] == [["batch", 1568], ["batch", 10]]


def test_parameters_are_counted_wherever_they_are(tmp_path: Path) -> None:
    """By dtype: in the graph, a subgraph, a function, a Constant, a sparse tensor; two 4-bit ones share a byte."""
    model = parsed(
        "g (bool c) => (float[3] y, float[4] z) <float[3] w = {1,2,3}> {y = If (c) <"
        "then_branch = t () => (float[3] p) <float[3] v = {1,2,3}> {p = Add (v, w)},"
        "else_branch = e () => (float[3] q) {q = Identity (w)}> z = local.f ()}"
        '<domain: "local", opset_import: ["" : 23]> f () => (o) {o = Constant <value = float[4] {1,2,3,4}> ()}'
    )
    values, places = numpy_helper.from_array(np.float16([5, 6]), "s"), numpy_helper.from_array(np.array([1, 7]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))
    model.graph.initializer.append(TensorProto(name="i4", data_type=TensorProto.INT4, dims=[5], raw_data=b"\0\0\0"))
    assert report(model, tmp_path)["parameters"] == {
        "count": 3 + 3 + 4 + 2 + 5,
        "bytes": 12 + 12 + 16 + 4 + 3,
        "by_dtype": {
            "float32": {"count": 10, "bytes": 40},
            "int4": {"count": 5, "bytes": 3},
            "float16": {"count": 2, "bytes": 4},
        },
        "initializers": 13,
        "constants": 4,
    }


def test_shapes_as_they_are_written(tmp_path: Path) -> None:
    model = parsed("g (float[n,3] x, float s, seq(float[2]) q) => (float[n,3] y) {y = Mul (x, s)}")
    model.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = report(model, tmp_path)
    assert [(v["dtype"], v["shape"]) for v in found["inputs"]] == [
        ("float32", ["n", None]),
        ("float32", []),
        ("sequence of float32", None),
    ]
    assert found["outputs"][0]["shape"][0] == "n"  # not declared, inferred
    assert list(found["symbols"]) == ["n", "x[1]"]


def test_subgraphs_and_functions_are_listed(tmp_path: Path) -> None:
    loop = report(EXAMPLES["loop"](), tmp_path)
    assert loop["subgraphs"] == [{"scope": "Loop_0/body", "operator": "Loop", "nodes": 3}]
    assert [(n["scope"], n["operator"]) for n in loop["nodes"]] == [
        ("", "Loop"), ("Loop_0/body/", "Add"), ("Loop_0/body/", "ReduceMax"), ("Loop_0/body/", "Less"),
    ]  # fmt: skip
    functions = report(EXAMPLES["functions"](), tmp_path)
    assert functions["functions"] == [{"name": "scaled_tanh", "domain": "local", "nodes": 3, "calls": 2}]
    assert functions["operators"] == {"Constant": 2, "Tanh": 2, "Mul": 2}


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](http://evil.example/a.png)",
    "`code` <b>bold</b>",
    "``` \n# Head",
    "a | b | c |\n|---|---|\n| d",
    "**bold** _and_ ~~more~~ # not a head",
    "\\`<script>\\`",
    "&lt;script&gt;",
    "line\nbreak\r\n\r\n<script>alert(2)</script>",
    "\u202eright to left\u0000\u001b[31m",
    "<" * 500,
    " ",
]


def hostile(text: str) -> ModelProto:
    """Everything that a file can name is called ``text``."""
    weight = numpy_helper.from_array(np.ones(4, np.float32), text + "w")
    node = helper.make_node("Add", [text + "x", text + "w"], [text + "y"], text + "n", domain="", doc_string=text)
    odd = helper.make_node(text + "Op", [text + "y"], [text + "z"], text + "o", domain=text + "d")
    values = [helper.make_tensor_value_info(text + n, 1, [text + "dim", 4], doc_string=text) for n in "xz"]
    graph = helper.make_graph([node, odd], text, values[:1], values[1:], [weight], doc_string=text)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(text + "d", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name=text, doc_string=text, domain=text)
    model.metadata_props.add(key=text, value=text)
    return model


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_markdown_of_hostile_names_is_harmless(text: str, tmp_path: Path) -> None:
    found = report(hostile(text), tmp_path)
    json.dumps(found)
    found["file"]["name"] = text
    plain = report(hostile("plain"), tmp_path)
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(markdown(found))
    kinds = {t.type for t in [*tokens, *(child for t in tokens for child in t.children or ())]}
    active = {"html_block", "html_inline", "link_open", "image", "fence", "code_block", "em_open", "s_open"}
    assert not kinds & active

    def structure(tokens: list[Any]) -> list[str]:
        return [t.type for t in tokens if t.type in ("heading_open", "table_open", "tr_open", "td_open", "list_item_open")]

    assert structure(tokens) == structure(parser.parse(markdown(plain)))  # no head, no row, no cell more


@pytest.mark.parametrize("name", EXAMPLES)
def test_markdown_has_the_facts(name: str, tmp_path: Path) -> None:
    found = report(EXAMPLES[name](), tmp_path)
    text = markdown(found)
    assert verdict(found) in text and f"{found['parameters']['count']:,}" in text
    for value in (*found["inputs"], *found["outputs"]):
        assert f"`{value['name']}`" in text
    assert all(operator.replace("_", "\\_") in text for operator in found["operators"])


def test_long_texts_are_cut(tmp_path: Path) -> None:
    model = cnn()
    model.doc_string = "x" * 1_000_000
    model.metadata_props.add(key="k", value="y" * 1_000_000)
    found = report(model, tmp_path)
    assert len(json.dumps(found)) < 50_000 and "1,000,000 characters" in found["doc_string"]
    assert len(markdown(found)) < 10_000


def problem(severity: str, n: int) -> list[dict[str, str]]:
    return [{"severity": severity, "where": "", "message": ""}] * n


@pytest.mark.parametrize(
    ("valid", "problems", "sentence"),
    [
        (True, [], "Valid."),
        (True, problem("warning", 1), "Valid, 1 warning."),
        (True, problem("warning", 2) + problem("info", 3), "Valid, 2 warnings and 3 notes."),
        (False, problem("error", 1), "Not a valid model: 1 error."),
        (False, problem("error", 2) + problem("info", 1), "Not a valid model: 2 errors, 1 note."),
    ],
)
def test_the_verdict(valid: bool, problems: list[dict[str, str]], sentence: str) -> None:
    assert verdict({"valid": valid, "problems": problems}) == sentence


def test_facts_say_what_was_not_counted_and_what_symbols_stood_for(tmp_path: Path) -> None:
    found = facts(report("g (float[n,4,1] x, int64 k) => (float[n,b,c] y) {y = DFT (x, k)}", tmp_path, n=3))
    assert found["MACs"] == "0, with n = 3; 1 node not counted"
    assert facts(report(cnn(), tmp_path, batch=2))["MACs"] == "2.06 M (2,063,488), with batch = 2"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (0, "0"), (999, "999"), (1234567, "1.23 M"), (2.5e13, "25 T"), (1e18, "1000000 T"), (1000, "1 k")],
)
def test_numbers_for_reading(value: float | None, text: str) -> None:
    assert human(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1024, "1.02 kB"), (46_747_648, "46.7 MB"), (5 << 30, "5.37 GB")]
)
def test_sizes_for_reading(value: int, text: str) -> None:
    assert size(value) == text


def test_shapes_for_reading() -> None:
    assert shape_text([1, "batch", None]) == "1 × batch × ?"
    assert (shape_text([]), shape_text(None)) == ("scalar", "any shape")


def test_a_problem_is_short() -> None:
    long = Problem("error", "w" * 10_000, "m" * 10_000)
    assert len(long.where) < 400 and len(long.message) < 1100


def test_the_checked_file_is_onnx_own_opinion(tmp_path: Path) -> None:
    """``valid`` says what onnx.checker says in full."""
    for name in EXAMPLES:
        onnx.checker.check_model(EXAMPLES[name](), full_check=True)
    bad = cnn()
    bad.graph.node[0].input[0] = "nowhere"
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(bad, full_check=True)
    assert not report(bad, tmp_path)["valid"]


def test_the_real_type_of_a_zipmap(tmp_path: Path) -> None:
    """As scikit-learn's classifiers have it."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]> g (float[n,2] x) => (float[n,2] q)'
        "{z = ai.onnx.ml.ZipMap <classlabels_int64s = [0, 1]> (x) q = Identity (x)}"
    )
    model = parsed(text)
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, []))
    )
    model.graph.output.append(helper.make_value_info("z", kind))
    found = report(model, tmp_path)
    assert found["valid"] and found["outputs"][1]["dtype"] == "sequence(map(int64, float32))"


def test_what_a_model_says_of_itself(tmp_path: Path) -> None:
    model = cnn()
    model.model_version, model.domain, model.doc_string = 7, "org.example", "Reads digits."
    model.graph.doc_string = "The graph."
    model.metadata_props.add(key="author", value="someone")
    model.training_info.add()
    found = report(model, tmp_path)
    assert (found["training"], found["graph_doc_string"]) == (1, "The graph.")
    lines = facts(found)
    assert (lines["Model version"], lines["Domain"], lines["Description"]) == ("7", "org.example", "Reads digits.")
    assert lines["Metadata"] == "author = someone" and lines["Training"].startswith("1 graph of training information")


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    onnx.save(cnn(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = summarise(open_model(tmp_path / "m.onnx", {}), "m.onnx", {}, tmp_path).as_dict()
    assert found["missing"] == {"m.data": 6} and incomplete(found)
    assert [p["where"] for p in found["problems"] if p["severity"] == "error"] == ["m.data"]
    assert verdict(found) == "Incomplete: also add m.data, which holds 6 tensors."
    (tmp_path / "tokenizer.json").write_text("{}")
    whole = {"m.data": tmp_path / "m.data", "tokenizer.json": tmp_path / "tokenizer.json"}
    found = summarise(open_model(tmp_path / "m.onnx", whole), "m.onnx", {}, tmp_path).as_dict()
    assert found["valid"] and found["problems"] == []
    assert found["file"]["external"] == ["m.data"] and found["file"]["beside"] == {"tokenizer.json": "tokenizer"}
    assert facts(found)["File"].endswith("; beside it tokenizer files, which are not weights")


def test_a_run_is_in_the_markdown(tmp_path: Path) -> None:
    found = report(cnn(), tmp_path)
    found["run"] = run.run(opened(cnn(), tmp_path), None, 0, 3, {}, tmp_path, lambda *a: None)
    text = markdown(found)
    assert "## Run" in text and "and the reference evaluator agree." in text and "Measured on" in text
    assert "batch = 1: plausible sizes" in text and "| `scores` | agrees |" in text and "e+0" not in text


def test_a_problem_and_its_fix_are_two_sentences(tmp_path: Path) -> None:
    found = report(EXAMPLES["troubled"](), tmp_path)
    assert "leads to no output. Remove it, for example with onnxslim." in markdown(found)
