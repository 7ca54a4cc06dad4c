"""MACs and parameters against torch's counter, torchvision's published numbers, and counts by hand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torchvision
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lib.onnx_inspect import bodies, cost
from lib.onnx_inspect.examples import cnn
from lib.onnx_inspect.graph import nodes
from lib.onnx_inspect.summary import summarise
from lib.onnx_model.open import open_model
from tests.onnx_inspect.make import report

NETS = """convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 mnasnet0_5 mobilenet_v2 mobilenet_v3_small
    regnet_y_400mf resnet18 resnet50 shufflenet_v2_x1_0 squeezenet1_1 swin_t vit_b_16""".split()  # noqa: SIM905
# Current operators of ai.onnx that the report lists as not counted, beside control flow.
NOT_COUNTED = set(
    """AffineGrid Bernoulli BlackmanWindow CausalConvWithState Col2Im DFT DeformConv Det GridSample HammingWindow HannWindow
    ImageDecoder LinearAttention MaxRoiPool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss NonMaxSuppression
    RegexFullMatch RoiAlign STFT SoftmaxCrossEntropyLoss StringConcat StringNormalizer StringSplit SwiGLU TfIdfVectorizer
    Unique""".split()  # noqa: SIM905
)
CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}


@pytest.mark.parametrize("name", NETS)
def test_a_torchvision_net_costs_what_torch_counts(name: str, tmp_path: Path) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    size = weights.transforms().crop_size[0]
    net, example = random_net(name), torch.zeros(1, 3, size, size)
    # the fused attention kernels of the CPU are not in torch's counter, the products they stand for are
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(  # PRESERVE: BatchNormalization stays a node, so parameters can be compared
            net, (example,), tmp_path / "net.onnx", dynamo=False, opset_version=17, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    found = summarise(open_model(tmp_path / "net.onnx", {}), name, {}, tmp_path).as_dict()

    assert found["valid"] and found["not_counted"] == []
    assert 2 * found["macs"] == counter.get_total_flops()
    assert round(found["macs"] / 1e9, 3) == weights.meta["_ops"]
    assert sum(n["macs"] or 0 for n in found["nodes"]) == found["macs"] == sum(found["macs_by_operator"].values())
    assert found["parameters"]["initializers"] == parameters(net)
    assert found["parameters"]["bytes"] >= 4 * parameters(net)
    assert found["memory"]["unknown"] == 0 and found["memory"]["peak_bytes"] > 4 * example.numel()
    if name not in ("inception_v3", "googlenet"):  # published with the auxiliary heads, which no inference runs
        assert sum(p.numel() for p in net.parameters()) == weights.meta["num_params"]


def random_net(name: str) -> torch.nn.Module:
    """Every value random: the exporter merges initializers that are equal, for example all-zero biases."""
    heads = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(name, weights=None, **heads).eval()
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.0)
    return net


def parameters(net: torch.nn.Module) -> int:
    """Parameters and buffers that inference reads: not ``num_batches_tracked``, and Swin's one index table once."""
    tables = [b for n, b in net.named_buffers() if n.endswith("relative_position_index")]
    floats = [t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()]
    return sum(t.numel() for t in [*floats, *tables[:1]])


def test_a_batch_of_three_costs_three_times_as_much(tmp_path: Path) -> None:
    """ShuffleNet computes its shapes from the input's: Shape, Gather, Div, Concat, Reshape."""
    net, path = random_net("shufflenet_v2_x0_5"), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 3, 64, 64),), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
    one, three = (summarise(open_model(path, {}), "", given, tmp_path).as_dict() for given in ({}, {"n": 3}))
    assert one["not_counted"] == three["not_counted"] == []
    assert three["macs"] == 3 * one["macs"] > 0 and three["symbols"]["n"] == {"value": 3, "at": ["x[0]"]}


# name: (ONNX text, MACs counted by hand)
BY_HAND = {
    # output 2 × 6 × 8 × 8, each a sum over 3 × 3 × 3
    "Conv": ("(float[2,3,8,8] x, float[6,3,3,3] w) => (float[a,b,c,d] y) {y = Conv <pads=[1,1,1,1]> (x, w)}", 768 * 27),
    "Conv, strides": (
        "(float[1,3,9,9] x, float[4,3,3,3] w) => (float[a,b,c,d] y) {y = Conv <strides=[2,2]> (x, w)}",
        64 * 27,
    ),
    "Conv, one axis": ("(float[1,3,9] x, float[4,3,5] w) => (float[a,b,c] y) {y = Conv (x, w)}", 4 * 5 * 15),
    "Conv, grouped": ("(float[2,4,8,8] x, float[6,2,3,3] w) => (float[a,b,c,d] y) {y = Conv <group=2> (x, w)}", 432 * 18),
    "Conv, depthwise": ("(float[1,5,4,4] x, float[5,1,1,1] w) => (float[a,b,c,d] y) {y = Conv <group=5> (x, w)}", 80),
    "Conv with a bias": ("(float[1,1,3,3] x, float[2,1,3,3] w, float[2] b) => (float[a,b,c,d] y) {y = Conv (x, w, b)}", 18),
    # input 1 × 4 × 5 × 5, each spread over 3 × 2 × 2
    "ConvTranspose": (
        "(float[1,4,5,5] x, float[4,3,2,2] w) => (float[a,b,c,d] y) {y = ConvTranspose <strides=[2,2]> (x, w)}",
        100 * 12,
    ),
    "ConvTranspose, grouped": (
        "(float[1,4,5,5] x, float[4,3,2,2] w) => (float[a,b,c,d] y) {y = ConvTranspose <group=2> (x, w)}",
        100 * 12,
    ),
    "ConvInteger": ("(uint8[1,2,4,4] x, uint8[3,2,3,3] w) => (int32[a,b,c,d] y) {y = ConvInteger (x, w)}", 12 * 18),
    "QLinearConv": (
        "(uint8[1,2,4,4] x, float s, uint8 z, uint8[3,2,3,3] w) => (uint8[a,b,c,d] y)"
        "{y = QLinearConv (x, s, z, w, s, z, s, z)}",
        12 * 18,
    ),
    "MatMul": ("(float[2,1,3,4] x, float[5,4,6] w) => (float[a,b,c,d] y) {y = MatMul (x, w)}", 2 * 5 * 3 * 4 * 6),
    "MatMul of vectors": ("(float[4] x, float[4] w) => (float y) {y = MatMul (x, w)}", 4),
    "MatMul, matrix by vector": ("(float[3,4] x, float[4] w) => (float[a] y) {y = MatMul (x, w)}", 12),
    "MatMulInteger": ("(uint8[2,3] x, uint8[3,4] w) => (int32[a,b] y) {y = MatMulInteger (x, w)}", 24),
    "QLinearMatMul": (
        "(uint8[2,3] x, float s, uint8 z, uint8[3,4] w) => (uint8[a,b] y) {y = QLinearMatMul (x, s, z, w, s, z, s, z)}",
        24,
    ),
    "Gemm": ("(float[3,4] x, float[4,5] w, float[5] b) => (float[a,b] y) {y = Gemm (x, w, b)}", 60),
    "Gemm, both turned": ("(float[4,3] x, float[5,4] w) => (float[a,b] y) {y = Gemm <transA=1, transB=1> (x, w)}", 60),
    "Einsum": ('(float[2,3,4] x, float[2,4,5] w) => (float[a,b,c] y) {y = Einsum <equation="bij, bjk -> bik"> (x, w)}', 120),
    "Einsum of three": (
        '(float[2,3] x, float[3,4] w, float[4,5] v) => (float[a,b] y) {y = Einsum <equation="ij,jk,kl->il"> (x, w, v)}',
        2 * 120,
    ),
    "Einsum, ellipsis": (
        '(float[7,1,2,3] x, float[1,4,3,5] w) => (float[a,b,c,d] y) {y = Einsum <equation="...ij,...jk->...ik"> (x, w)}',
        7 * 4 * 2 * 3 * 5,
    ),
    "Einsum, a transpose": ('(float[2,3] x) => (float[a,b] y) {y = Einsum <equation="ij->ji"> (x)}', 0),
    # 5 steps × 2 sequences, each meets W and R of both directions
    "LSTM, both ways": (
        "(float[5,2,3] x, float[2,16,3] w, float[2,16,4] r) => (float[a,b,c,d] y)"
        '{y = LSTM <hidden_size=4, direction="bidirectional"> (x, w, r)}',
        10 * 2 * (16 * 3 + 16 * 4),
    ),
    "GRU": (
        "(float[5,2,3] x, float[1,12,3] w, float[1,12,4] r) => (float[a,b,c,d] y) {y = GRU <hidden_size=4> (x, w, r)}",
        10 * (12 * 3 + 12 * 4),
    ),
    "RNN, both ways": (
        "(float[5,2,3] x, float[2,4,3] w, float[2,4,4] r) => (float[a,b,c,d] y)"
        '{y = RNN <hidden_size=4, direction="bidirectional"> (x, w, r)}',
        10 * 2 * (4 * 3 + 4 * 4),
    ),
    # 2 sequences × 4 heads × 5 queries × 7 keys × (8 wide for the scores + 6 wide for the mix)
    "Attention, 4-D": (
        "(float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,6] v) => (float[a,b,c,d] y) {y = Attention (q, k, v)}",
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "Attention, grouped queries": (
        "(float[2,4,5,8] q, float[2,2,7,8] k, float[2,2,7,6] v) => (float[a,b,c,d] y) {y = Attention (q, k, v)}",
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "Attention, 3-D": (
        "(float[2,5,32] q, float[2,7,32] k, float[2,7,24] v) => (float[a,b,c] y)"
        "{y = Attention <q_num_heads=4, kv_num_heads=4> (q, k, v)}",
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "Attention, 3-D, grouped queries": (
        "(float[2,5,32] q, float[2,7,16] k, float[2,7,12] v) => (float[a,b,c] y)"
        "{y = Attention <q_num_heads=4, kv_num_heads=2> (q, k, v)}",
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "Attention with a past of 3": (
        "(float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,6] v, float[2,4,3,8] pk, float[2,4,3,6] pv)"
        "=> (float[a,b,c,d] y, float[e,f,g,h] nk, float[e,f,g,i] nv) {y, nk, nv = Attention (q, k, v, , pk, pv)}",
        2 * 4 * 5 * (7 + 3) * (8 + 6),
    ),
    "MatMulNBits": (
        "(float[2,3,64] x, uint8[16,2,16] w, float[32] s) => (float[2,3,16] y)"
        "{y = com.microsoft.MatMulNBits <K=64, N=16, bits=4, block_size=32> (x, w, s)}",
        6 * 64 * 16,
    ),
    "FusedMatMul, turned": (
        "(float[4,3] x, float[4,5] w) => (float[3,5] y) {y = com.microsoft.FusedMatMul <transA=1> (x, w)}",
        60,
    ),
    "the larger branch of an If": (
        "(bool c, float[2,3] x, float[3,4] w, float[4,5] v) => (float[a,b] y) {y = If (c) <"
        "then_branch = big () => (float[2,5] p) {u = MatMul (x, w) p = MatMul (u, v)},"
        "else_branch = small () => (float[2,4] q) {q = MatMul (x, w)}>}",
        24 + 40,
    ),
    "a Scan's trips": (
        "(float[2,3] h, float[7,2,3] xs, float[3,3] w) => (float[a,b] y, float[c,d,e] ys) {y, ys = Scan <num_scan_inputs=1,"
        "body = step (float[2,3] a, float[2,3] b) => (float[2,3] c, float[2,3] d) {m = MatMul (a, w) c = Add (m, b)"
        "d = Identity (c)}> (h, xs)}",
        7 * 18,
    ),
    "a Scan along another axis": (
        "(float[2,3] h, float[2,7,3] xs, float[3,3] w) => (float[a,b] y, float[c,d,e] ys) {y, ys = Scan <num_scan_inputs=1,"
        "scan_input_axes=[-2],"
        "body = step (float[2,3] a, float[2,3] b) => (float[2,3] c, float[2,3] d) {m = MatMul (a, w) c = Add (m, b)"
        "d = Identity (c)}> (h, xs)}",
        7 * 18,
    ),
    "a Loop without products": (
        "(int64 n, bool go, float[2] x) => (float[a] y) {y = Loop (n, go, x) <"
        "body = step (int64 i, bool g, float[2] v) => (bool h, float[2] w) {h = Identity (g) w = Add (v, v)}>}",
        0,
    ),
    "a function called twice, in a function": (
        "(float[2,3] x, float[3,3] w) => (float[a,b] y) {y = local.twice (x, w)}"
        '<domain: "local", opset_import: ["" : 23, "local" : 1]> twice (x, w) => (y)'
        "{h = local.once (x, w) y = local.once (h, w)}"
        '<domain: "local", opset_import: ["" : 23]> once (x, w) => (y) {y = MatMul (x, w)}',
        2 * 18,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str, tmp_path: Path) -> None:
    text, expected = BY_HAND[name]
    found = report("g " + text, tmp_path)
    assert [p for p in found["problems"] if p["severity"] == "error"] == []
    assert (found["macs"], found["not_counted"]) == (expected, [])


UNCOUNTED = {
    "a Loop with a product": (
        "(int64 n, bool go, float[2,2] x) => (float[a,b] y) {y = Loop (n, go, x) <"
        "body = step (int64 i, bool g, float[2,2] v) => (bool h, float[2,2] w) {h = Identity (g) w = MatMul (v, v)}>}",
        "Loop",
        "its body (8 MACs per pass) runs an unknown number of times",
    ),
    "a body with something unknown": (
        "(bool c, float[4,1] x, int64 n) => (float[a,b,d] y) {y = If (c) <"
        "then_branch = t () => (float[1,3,2] p) {p = DFT (x, n)},"
        "else_branch = e () => (float[1,3,2] q) {q = DFT (x, n)}>}",
        "DFT",
        "no formula for this operator",
    ),
    "no formula": ("(float[1,4,1] x, int64 n) => (float[a,b,c] y) {y = DFT (x, n)}", "DFT", "no formula for this operator"),
    "another domain": (
        "(float[2] x) => (float[2] y) {y = com.microsoft.Strange (x)}",
        "com.microsoft.Strange",
        "no formula for this operator",
    ),
    "an unknown shape": (
        "(float[2,3] x, int64[1] n, float[3,4] w) => (float[a,b] y) {h = Reshape (x, n) y = MatMul (h, w)}",
        "MatMul",
        "the shapes of its inputs or outputs are not known",
    ),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_is_not_counted_is_listed_with_a_reason(name: str, tmp_path: Path) -> None:
    text, operator, reason = UNCOUNTED[name]
    found = report("g " + text, tmp_path)
    assert found["not_counted"] == [{"operator": operator, "reason": reason, "nodes": 1}]
    whole = [n["reason"] for n in found["nodes"] if n["operator"] in (operator, "If") and not n["scope"]]
    assert whole in ([reason], ["without the DFT in its body, which is not counted"])


def test_every_operator_is_in_one_group() -> None:
    assert not set(cost.FORMULAS) & cost.NONE
    current = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    ours = {name for name in cost.FORMULAS if "." not in name}
    assert current == ours | cost.NONE | CONTROL_FLOW | NOT_COUNTED
    assert len(ours) + len(cost.NONE) + len(CONTROL_FLOW) + len(NOT_COUNTED) == len(current)


def test_two_formulas_for_one_operator_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="Conv"):
        cost.formula("Conv")(lambda node: 0)


def test_every_formula_is_checked_by_hand() -> None:
    used = "".join(text for text, _ in BY_HAND.values())
    fused = {"com.microsoft.FusedConv", "com.microsoft.NhwcFusedConv", "com.microsoft.FusedGemm"}  # onnxruntime's own names
    assert [name for name in cost.FORMULAS if f"{name} " not in used and name not in fused] == []


# conv1 16·28·28·9, conv2 32·14·14·16·9, fc 1568·10
DIGITS = 16 * 28 * 28 * 9 + 32 * 14 * 14 * 16 * 9 + 1568 * 10


@pytest.mark.parametrize("batch", [1, 5])
def test_symbols_set_the_count(batch: int, tmp_path: Path) -> None:
    found = report(cnn(), tmp_path, batch=batch)
    assert found["macs"] == batch * DIGITS
    assert found["macs_by_operator"] == {"Conv": batch * (DIGITS - 15680), "Gemm": batch * 15680}
    assert found["nodes"][0]["output_shapes"] == [["batch", 16, 28, 28]]  # the shape keeps its symbol


def test_bytes_and_intensity_of_a_node(tmp_path: Path) -> None:
    text = "g (float[2,3] x) => (float[2,4] y) <float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}> {y = MatMul (x, w)}"
    (node,) = report(text, tmp_path)["nodes"]
    assert (node["input_bytes"], node["weight_bytes"], node["output_bytes"], node["parameters"]) == (24, 48, 32, 12)
    assert node["intensity"] == float(f"{2 * 24 / 104:.4g}")


def memory(text: str, folder: Path) -> dict[str, Any]:
    return report("g " + text, folder)["memory"]


def test_peak_memory_with_a_skip_connection(tmp_path: Path) -> None:
    # floats alive: x a | a b | a b c | a c y, of 4 4 | 4 4 | 4 4 4 | 4 4 8; the weight w is none of them
    found = memory(
        "(float[4] x) => (float[8] y) <float[4] w = {1,2,3,4}>"
        "{[first] a = Mul (x, w) [second] b = Relu (a) [third] c = Relu (b) [last] y = Concat <axis=0> (a, c)}",
        tmp_path,
    )
    assert found == {"peak_bytes": 64, "at": "last", "over_nodes": [32, 32, 48, 64], "unknown": 0}


def test_peak_memory_without_the_skip(tmp_path: Path) -> None:
    found = memory("(float[4] x) => (float[4] y) {a = Relu (x) b = Relu (a) c = Relu (b) y = Relu (c)}", tmp_path)
    assert found["over_nodes"] == [32] * 4


def test_an_output_stays_and_a_dead_value_goes(tmp_path: Path) -> None:
    # y is returned, so it stays to the end; nobody reads d
    found = memory("(float[4] x) => (float[4] y, float[4] z) {y = Relu (x) d = Tanh (x) z = Abs (x)}", tmp_path)
    assert found["over_nodes"] == [32, 48, 48]


def test_a_subgraph_keeps_what_it_captures(tmp_path: Path) -> None:
    found = memory(
        "(float[4] x, bool c) => (float[4] y) {a = Relu (x) b = Relu (a) y = If (c) <"
        "then_branch = t () => (float[4] p) {p = Add (a, b)}, else_branch = e () => (float[4] q) {q = Identity (b)}>}",
        tmp_path,
    )
    assert found["over_nodes"] == [33, 33, 49]  # a waits for the branch; c is one byte


def test_an_unknown_size_makes_the_peak_a_lower_bound(tmp_path: Path) -> None:
    found = memory("(float[4] x) => (int64[a,b] y) {n = NonZero (x) y = Abs (n)}", tmp_path)
    assert found["unknown"] == 2 and found["peak_bytes"] == 16


@pytest.mark.parametrize("inputs", [[], ["nowhere", "w"], ["x"]])
@pytest.mark.parametrize("operator", sorted(cost.FORMULAS))
def test_a_malformed_node_is_not_counted_and_breaks_nothing(operator: str, inputs: list[str]) -> None:
    domain, _, op = operator.rpartition(".")
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xw"]
    node = onnx.helper.make_node(op, inputs, [], domain=domain)
    (found,) = nodes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", values, [])))
    assert cost.cost(found, {}, bodies.count_macs(found, {})).macs is None
