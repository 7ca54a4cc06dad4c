"""Count the cost of a model: multiply-accumulates (MACs), parameters, bytes moved, and memory over a run.

A MAC is one multiplication and one addition in a matrix product or a convolution; one MAC is two FLOPs. By convention,
bias additions, normalization, activations, pooling and other element-wise operators have no MACs (as in torch's
FlopCounterMode, which the tests compare with). An operator has a formula here, is in ``NONE`` (nothing to count), or is
*not counted*, which the report lists with a reason.
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
    """Cost of one node. ``macs`` is None if not counted, with a ``reason``; bytes are None if a shape is unknown.

    ``not_counted``: number of nodes by (operator, reason), including nodes inside branches and loops.
    ``by``: the MACs by operator.
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
    """MACs of one node; fields as in NodeCost."""

    macs: int | None
    reason: str = ""
    not_counted: dict[tuple[str, str], int] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """Memory over a run: ``peak`` bytes of inputs and activations alive at once, at node ``at``; ``over``: at each node.

    Excludes weights and bodies of subgraphs; every output is new memory (no in-place reuse). ``unknown`` is the number of
    values of unknown size; if it is not 0, the peak is a lower bound.
    """

    peak: int
    at: str
    over: list[int] = field(default_factory=list)
    unknown: int = 0


def formula(*operators: str) -> Callable[[Formula], Formula]:
    """Register a function that counts the MACs of these operators. An operator can have only one."""

    def register(function: Formula) -> Formula:
        for name in operators:
            assert name not in FORMULAS and name not in NONE, name
            FORMULAS[name] = function
        return function

    return register


def cost(node: Node, weights: dict[str, tuple[int, int]], counted: MacCount) -> NodeCost:
    """Return the cost of a node. ``weights``: elements and bytes by initializer; ``counted``: from ``bodies.count_macs``."""
    node_weights = [weights[name] for name in dict.fromkeys((*node.inputs, *node.captured)) if name in weights]
    input_types = [node.types.get(n) for n in dict.fromkeys(node.inputs) if n and n not in weights]
    output_types = [node.types.get(n) for n in node.outputs if n]

    def total(found: list) -> int | None:
        sizes = [t.bytes if t is not None and t.kind == "tensor" else None for t in found]
        return None if None in sizes else sum(sizes)

    parameters, weight_bytes = sum(n for n, _ in node_weights), sum(b for _, b in node_weights)
    sizes = parameters, weight_bytes, total(input_types), total(output_types)
    return NodeCost(counted.macs, counted.reason, *sizes, counted.not_counted, counted.by)


def single(node: Node) -> MacCount:
    """Count the MACs of a node without bodies."""
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
        macs = FORMULAS[node.operator](node)
    except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        macs = None  # a malformed node: the checker says what is wrong with it
    if macs is not None and macs > MAX_EXACT:
        return None, "too many to count"
    return (macs, "") if macs is not None else (None, "the shapes of its inputs or outputs are not known")


def _numbers(*types: object) -> list[tuple[int, ...]] | None:
    """Return the shapes if all dimensions are numbers, else None."""
    shapes = [getattr(t, "shape", None) for t in types]
    if any(s is None or not all(isinstance(d, int) for d in s) for s in shapes):
        return None
    return shapes  # type: ignore[return-value]


@formula("Conv", "ConvInteger", "com.microsoft.FusedConv", "QLinearConv", "com.microsoft.NhwcFusedConv")
def _conv(node: Node) -> int | None:
    """Each output element sums over C_in / group × kernel: the weight's shape without its first axis."""
    dims = _numbers(node.output_type(), node.type_of(3 if node.op_type == "QLinearConv" else 1))
    return prod(dims[0]) * prod(dims[1][1:]) if dims else None


@formula("ConvTranspose")
def _conv_transpose(node: Node) -> int | None:
    """Each input element contributes to C_out / group × kernel outputs: the weight's shape without its first axis."""
    dims = _numbers(node.type_of(0), node.type_of(1))
    return prod(dims[0]) * prod(dims[1][1:]) if dims else None


@formula("MatMul", "MatMulInteger", "QLinearMatMul", "com.microsoft.FusedMatMul")
def _matmul(node: Node) -> int | None:
    """[…, m, k] × […, k, n] takes m·n·k MACs per matrix: output elements times k of the first operand."""
    dims = _numbers(node.output_type(), node.type_of(0))
    if not dims:
        return None
    return prod(dims[0]) * dims[1][-2 if node.attribute("transA", 0) and len(dims[1]) > 1 else -1]


@formula("Gemm", "com.microsoft.FusedGemm")
def _gemm(node: Node) -> int | None:
    dims = _numbers(node.output_type(), node.type_of(0))
    return prod(dims[0]) * dims[1][0 if node.attribute("transA", 0) else 1] if dims else None


@formula("com.microsoft.MatMulNBits")
def _matmul_nbits(node: Node) -> int | None:
    dims = _numbers(node.output_type())
    return prod(dims[0]) * int(node.attribute("K")) if dims else None


@formula("Einsum")
def _einsum(node: Node) -> int | None:
    """One MAC per combination of all indices and per operand after the first."""
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
    """Each step of each sequence multiplies by all of W and R once."""
    dims = _numbers(node.type_of(0), node.type_of(1), node.type_of(2))
    return dims[0][0] * dims[0][1] * (prod(dims[1]) + prod(dims[2])) if dims else None


@formula("Attention")
def _attention(node: Node) -> int | None:
    """Q·Kᵀ and its product with V, ignoring the mask: B·H·L·S·(E + E_v), where S includes the past."""
    dims = _numbers(node.type_of(0), node.type_of(1), node.type_of(2))
    if not dims:
        return None
    q, k, v = dims
    past = _numbers(node.type_of(4)) if node.type_of(4) else None
    steps = past[0][2] if past else 0
    if len(q) == 4:
        return q[0] * q[1] * q[2] * (k[2] + steps) * (q[3] + v[3])
    heads, kv_heads = int(node.attribute("q_num_heads")), int(node.attribute("kv_num_heads"))
    return q[0] * q[1] * (k[1] + steps) * (q[2] + v[2] // kv_heads * heads)


def weights_of(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Return elements and bytes of the main graph's initializers and Constants. Sparse ones count their stored values."""
    weights = {name: (count(t), byte_size(t)) for name, t in constants(model).items()}
    weights |= {t.name: (count(t), byte_size(t)) for t in model.graph.initializer}
    for sparse in model.graph.sparse_initializer:
        weights[sparse.values.name] = (count(sparse.values), byte_size(sparse.values) + byte_size(sparse.indices))
    return weights


def constants(model: ModelProto) -> dict[str, TensorProto]:
    """Return the tensors of Constant nodes by output name, since exporters store weights there too."""
    nodes = (n for n in model.graph.node if n.op_type == "Constant" and n.output)
    return {n.output[0]: a.t for n in nodes for a in n.attribute if a.name == "value" and a.HasField("t")}


def memory(found: list[Node], model: ModelProto) -> Memory:
    """Compute liveness in file order: a value lives from the node that produces it to the last node that reads it."""
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
    alive, peak = set(inputs), Memory(live, "the start")
    for node in found:
        produced = [n for n in node.outputs if n and n not in alive and n not in weights]
        live += sum(size(n) for n in produced)
        alive.update(produced)
        peak.over.append(live)
        if live > peak.peak:
            peak.peak, peak.at = live, node.name
        for name in {*node.inputs, *node.captured, *produced}:
            if name in alive and name not in outputs and last.get(name, node.index) <= node.index:
                alive.remove(name)
                live -= size(name)
    peak.unknown = len(unknown)
    return peak


def uncounted(found: list[NodeCost]) -> list[dict[str, object]]:
    """Group the nodes that are not counted by operator and reason."""
    groups: dict[tuple[str, str], int] = {}
    for node_cost in found:
        for key, n in node_cost.not_counted.items():
            groups[key] = groups.get(key, 0) + n
    return [{"operator": o, "reason": r, "nodes": n} for (o, r), n in groups.items()]
