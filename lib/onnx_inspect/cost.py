"""What a model costs: multiply-accumulates, parameters, bytes moved, and memory held over a run.

A MAC is one multiplication with one addition in a matrix product or a convolution; FLOPs are twice
that. Bias additions, normalisation, activations, pooling and other element-wise work have none by
convention (as in torch's FlopCounterMode, whose counts the tests compare with). An operator is in one
of three groups: with a formula here, in ``NONE`` (nothing to count), or *not counted*, which the report
says with a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from onnx import ModelProto, TensorProto

from lib.onnx_inspect.graph import Node, readers
from lib.onnx_model.open import MAX_EXACT, byte_size, count

Formula = Callable[[Node], int | None]
FORMULAS: dict[str, Formula] = {}
# Operators of ai.onnx without a matrix product: element-wise, reductions, data movement, shape arithmetic.
NONE = frozenset(
    """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitCast BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Compress Concat
    ConcatFromSequence Constant ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool Max MaxPool MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not NonZero OneHot
    Optional OptionalGetElement OptionalHasElement Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence
    RotaryEmbedding Round Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToDepth Split SplitToSequence Sqrt Squeeze Sub Sum Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor""".split()  # noqa: SIM905
)


@dataclass(slots=True)
class NodeCost:
    """``macs`` is None where they were not counted, and ``reason`` says why. Bytes None: shape unknown.

    ``not_counted`` has what is not counted, of a branch or a loop also what is inside: (operator, reason) -> nodes.
    ``by`` splits the MACs over the operators that do them.
    """

    macs: int | None
    reason: str
    parameters: int
    weight_bytes: int
    input_bytes: int | None
    output_bytes: int | None
    not_counted: dict[tuple[str, str], int] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte moved (inputs, weights, outputs), 2 per MAC: the x axis of a roofline."""
        if not self.macs or self.input_bytes is None or self.output_bytes is None:
            return None
        moved = self.input_bytes + self.weight_bytes + self.output_bytes
        return 2 * self.macs / moved if moved else None


@dataclass(slots=True)
class MacCount:
    """As in NodeCost."""

    macs: int | None
    reason: str = ""
    not_counted: dict[tuple[str, str], int] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """``peak`` bytes of inputs and activations alive at once, while node ``at`` runs; ``over`` at each node.

    Weights are not in it, bodies of subgraphs neither; every output is new memory (no reuse in place).
    ``unknown`` values have no known size, so with any of them the peak is a lower bound.
    """

    peak: int
    at: str
    over: list[int] = field(default_factory=list)
    unknown: int = 0


def formula(*operators: str) -> Callable[[Formula], Formula]:
    """Registers how to count these operators. A second one for the same operator is an error."""

    def register(function: Formula) -> Formula:
        for name in operators:
            assert name not in FORMULAS and name not in NONE, name
            FORMULAS[name] = function
        return function

    return register


def cost(node: Node, weights: dict[str, tuple[int, int]], counted: MacCount) -> NodeCost:
    """``weights``: elements and bytes of each initializer by name; ``counted``: its MACs, of ``bodies.counted``."""
    held = [weights[name] for name in dict.fromkeys((*node.inputs, *node.captured)) if name in weights]
    moved = [node.types.get(n) for n in dict.fromkeys(node.inputs) if n and n not in weights]
    made = [node.types.get(n) for n in node.outputs if n]

    def total(found: list) -> int | None:
        sizes = [t.bytes if t is not None and t.kind == "tensor" else None for t in found]
        return None if None in sizes else sum(sizes)

    parameters, held_bytes = sum(n for n, _ in held), sum(b for _, b in held)
    sizes = parameters, held_bytes, total(moved), total(made)
    return NodeCost(counted.macs, counted.reason, *sizes, counted.not_counted, counted.by)


def single(node: Node) -> MacCount:
    """Of a node without bodies."""
    macs, reason = _macs(node)
    if macs is None:
        return MacCount(None, reason, {(node.operator, reason): 1})
    return MacCount(macs, by={node.operator: macs} if macs else {})


def _macs(node: Node) -> tuple[int | None, str]:
    if node.operator in NONE:
        return 0, ""
    if node.operator not in FORMULAS:
        return None, "no formula for this operator"
    try:
        found = FORMULAS[node.operator](node)
    except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        found = None  # a malformed node: the checker says what is wrong with it
    if found is not None and found > MAX_EXACT:
        return None, "more than can be"
    return (found, "") if found is not None else (None, "the shapes of its inputs or outputs are not known")


def _numbers(*types: object) -> list[tuple[int, ...]] | None:
    """Shapes as numbers, or None where one is not known."""
    shapes = [getattr(t, "shape", None) for t in types]
    if any(s is None or not all(isinstance(d, int) for d in s) for s in shapes):
        return None
    return shapes  # type: ignore[return-value]


@formula("Conv", "ConvInteger", "com.microsoft.FusedConv", "QLinearConv", "com.microsoft.NhwcFusedConv")
def _conv(node: Node) -> int | None:
    """Every output element sums over C_in / group × kernel: the weight's shape without its first axis."""
    found = _numbers(node.output_type(), node.type_of(3 if node.op_type == "QLinearConv" else 1))
    return prod(found[0]) * prod(found[1][1:]) if found else None


@formula("ConvTranspose")
def _conv_transpose(node: Node) -> int | None:
    """Every input element is spread over C_out / group × kernel."""
    found = _numbers(node.type_of(0), node.type_of(1))
    return prod(found[0]) * prod(found[1][1:]) if found else None


@formula("MatMul", "MatMulInteger", "QLinearMatMul", "com.microsoft.FusedMatMul")
def _matmul(node: Node) -> int | None:
    """[…, m, k] × […, k, n]: m·n·k a matrix; QLinearMatMul has scales between its operands."""
    found = _numbers(node.output_type(), node.type_of(0))
    if not found:
        return None
    return prod(found[0]) * found[1][-2 if node.attribute("transA", 0) and len(found[1]) > 1 else -1]


@formula("Gemm", "com.microsoft.FusedGemm")
def _gemm(node: Node) -> int | None:
    found = _numbers(node.output_type(), node.type_of(0))
    return prod(found[0]) * found[1][0 if node.attribute("transA", 0) else 1] if found else None


@formula("com.microsoft.MatMulNBits")
def _matmul_nbits(node: Node) -> int | None:
    found = _numbers(node.output_type())
    return prod(found[0]) * int(node.attribute("K")) if found else None


@formula("Einsum")
def _einsum(node: Node) -> int | None:
    """One MAC per combination of all indices, for each operand after the first."""
    shapes = _numbers(*(node.type_of(k) for k in range(len(node.inputs))))
    terms = node.attribute("equation", b"").decode().replace(" ", "").split("->")[0].split(",")
    if shapes is None or len(terms) != len(shapes):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, dots, after = term.partition("...")
        if len(before) + len(after) > len(shape) or (not dots and len(before) != len(shape)):
            return None
        rest = shape[len(before) : len(shape) - len(after)]
        named = [*zip(before, shape, strict=False), *zip(after, shape[len(shape) - len(after) :], strict=False)]
        named += [(f".{len(rest) - k}", d) for k, d in enumerate(rest)]
        for letter, d in named:
            sizes[letter] = max(sizes.get(letter, 1), d)
    return prod(sizes.values()) * (len(terms) - 1)


@formula("LSTM", "GRU", "RNN")
def _recurrent(node: Node) -> int | None:
    """Each step of each sequence meets all of W and R once."""
    found = _numbers(node.type_of(0), node.type_of(1), node.type_of(2))
    return found[0][0] * found[0][1] * (prod(found[1]) + prod(found[2])) if found else None


@formula("Attention")
def _attention(node: Node) -> int | None:
    """Q·Kᵀ and its product with V, without the mask: B·H·L·S·(E + E_v); S counts the past."""
    found = _numbers(node.type_of(0), node.type_of(1), node.type_of(2))
    if not found:
        return None
    q, k, v = found
    past = _numbers(node.type_of(4)) if node.type_of(4) else None
    steps = past[0][2] if past else 0
    if len(q) == 4:
        return q[0] * q[1] * q[2] * (k[2] + steps) * (q[3] + v[3])
    heads, kv_heads = int(node.attribute("q_num_heads")), int(node.attribute("kv_num_heads"))
    return q[0] * q[1] * (k[1] + steps) * (q[2] + v[2] // kv_heads * heads)


def weights_of(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Elements and bytes of every initializer and Constant of the main graph; a sparse one counts what it stores."""
    found = {name: (count(t), byte_size(t)) for name, t in constants(model).items()}
    found |= {t.name: (count(t), byte_size(t)) for t in model.graph.initializer}
    for sparse in model.graph.sparse_initializer:
        found[sparse.values.name] = (count(sparse.values), byte_size(sparse.values) + byte_size(sparse.indices))
    return found


def constants(model: ModelProto) -> dict[str, TensorProto]:
    """Tensors of Constant nodes by output: exporters write weights there too."""
    nodes = (n for n in model.graph.node if n.op_type == "Constant" and n.output)
    return {n.output[0]: a.t for n in nodes for a in n.attribute if a.name == "value" and a.HasField("t")}


def memory(found: list[Node], model: ModelProto) -> Memory:
    """Liveness in file order: a value lives from the node that makes it to the last that reads it."""
    weights = weights_of(model)
    inputs = [v.name for v in model.graph.input if v.name not in weights]
    outputs = {v.name for v in model.graph.output}
    last = {name: max(where) for name, where in readers(found).items()}
    kinds = found[0].types if found else {}
    unknown: set[str] = set()

    def size(name: str) -> int:
        kind = kinds.get(name)
        if kind is None or kind.kind != "tensor" or kind.bytes is None:
            unknown.add(name)
            return 0
        return kind.bytes

    live = sum(size(n) for n in inputs)
    held, peak = set(inputs), Memory(live, "the start")
    for node in found:
        made = [n for n in node.outputs if n and n not in held and n not in weights]
        live += sum(size(n) for n in made)
        held.update(made)
        peak.over.append(live)
        if live > peak.peak:
            peak.peak, peak.at = live, node.name
        for name in {*node.inputs, *node.captured, *made}:
            if name in held and name not in outputs and last.get(name, node.index) <= node.index:
                held.remove(name)
                live -= size(name)
    peak.unknown = len(unknown)
    return peak


def uncounted(found: list[NodeCost]) -> list[dict[str, object]]:
    """Not counted nodes by operator and reason."""
    groups: dict[tuple[str, str], int] = {}
    for one in found:
        for key, n in one.not_counted.items():
            groups[key] = groups.get(key, 0) + n
    return [{"operator": o, "reason": r, "nodes": n} for (o, r), n in groups.items()]
