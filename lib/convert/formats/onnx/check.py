"""Validates an ONNX source before any tool runs, so that a broken file is not reported as a tool's failure.

Raises InvalidFile with our own message, the most informative check first: unsupported operators, duplicate names,
tensor data of the wrong size, wrong output declarations. Unusual models that still run pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, helper

from lib.convert.formats.onnx import files as onnx_files
from lib.convert.formats.onnx import tidy as onnx_tidy
from lib.convert.formats.onnx.opset.graph import subgraphs
from lib.errors import InvalidFile
from lib.onnx_model.functions import all_nodes
from lib.onnx_model.open import Model, byte_size, tensors
from lib.onnx_model.signature import nameless
from lib.onnx_model.words import clean

NAME, SHOWN = 80, 5  # characters of a name in a message; how many names a message lists
RAW = 9  # field number of TensorProto.raw_data, also used for external data


def check(folder: Path) -> None:
    """Raises InvalidFile if onnxruntime would reject the model in ``folder`` or its declared outputs are wrong.

    Models older than onnxruntime's first opset (7) pass: the reference evaluator runs them.
    """
    model = onnx_files.opened(folder)
    _versions(model.proto)
    reason = _operators(model.proto) or _node_names(model.proto)
    _value_names(model.proto)
    _values(model)
    _loads(model, reason)
    _outputs(model.proto)


def _versions(model: ModelProto) -> None:
    """Raises InvalidFile for conflicting imports, and for an opset or IR version newer than onnxruntime supports."""
    from lib.onnx_model.runtime import supported

    imports: dict[str, int] = {}
    for entry in model.opset_import:
        domain = _domain(entry.domain)
        if imports.setdefault(domain, entry.version) != entry.version:
            raise InvalidFile(
                f"The model imports {domain or 'ai.onnx'} at versions {imports[domain]} and {entry.version}; only one "
                "is allowed."
            )
    limits = supported()
    if imports.get("", 0) > limits["opset"]:
        raise InvalidFile(
            f"The model uses opset {imports['']}; the newest that runs here is {limits['opset']}. Export it again with "
            "that or an older one."
        )
    if model.ir_version > limits["ir"]:
        raise InvalidFile(
            f"The model has IR version {model.ir_version}; the newest that can be read here is {limits['ir']}."
        )


def _operators(model: ModelProto) -> str:
    """Raises InvalidFile for operators that no runtime implements, in subgraphs and functions too.

    Returns a sentence about an operator that the imported opset lacks, which onnxruntime may accept; "" if none.
    """
    from lib.onnx_model.runtime import kernels

    local_functions = {(_domain(f.domain), f.name) for f in model.functions}
    scopes: list[tuple[Iterable[NodeProto], Iterable[onnx.OperatorSetIdProto]]] = [(model.graph.node, model.opset_import)]
    scopes += [(f.node, f.opset_import) for f in model.functions]
    unknown: dict[str, str] = {}
    version_note = ""
    for nodes, imported in scopes:
        versions = {_domain(o.domain): o.version for o in imported}
        for node in all_nodes(nodes):
            domain, op_type = _domain(node.domain), node.op_type[:NAME]
            # the domain of local functions may lack an import, and old models have no imports at all
            if (domain, node.op_type) in local_functions:
                continue
            since, version = _since(node.op_type, domain, versions.get(domain, 0)), versions.get(domain, 0)
            if since < 0:
                version_note = version_note or (
                    f"{op_type} is not an operator of {domain or 'ai.onnx'} {version}, which the model imports."
                )
            elif not since and (domain, node.op_type) not in kernels():
                location = f"of the domain {domain[:NAME]!r}" if domain else "of ai.onnx"
                unknown.setdefault(f"{op_type} {location}", (node.name or next(iter(node.output), "") or "")[:NAME])
    if not unknown:
        return version_note
    listed = "; ".join(list(unknown)[:SHOWN]) + (f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
    first = next(iter(unknown.values()))
    raise InvalidFile(
        f"No runtime here supports the operator {listed} (first at {first!r}). Export the model without it, or define it "
        "in the file as a function."
    )


def _since(name: str, domain: str, version: int) -> int:
    """Returns the ``since_version`` of the operator's schema at ``version``.

    Returns 0 if onnx has no schema for it, and -1 if the schema is deprecated or only newer. Without an import
    (``version`` 0) any version is accepted: the runtime decides.
    """
    if not onnx.defs.has(name, domain):
        return 0
    if not version:
        return 1
    try:
        schema = onnx.defs.get_schema(name, version, domain)
    except onnx.defs.SchemaError:
        return -1
    return -1 if schema.deprecated else schema.since_version


def _node_names(model: ModelProto) -> str:
    """Returns a sentence about duplicate node names, which onnxruntime rejects except on Constants; "" if none."""
    for graph in onnx_tidy.graphs(model.graph):
        nodes = Counter(node.name for node in graph.node if node.name and node.op_type != "Constant")
        if repeated := [name for name, count in nodes.items() if count > 1]:
            return f"two nodes are called {repeated[0][:NAME]!r}. Give every node a unique name, or none."
    return ""


def _value_names(model: ModelProto) -> None:
    """Raises InvalidFile for value names that are defined twice or never defined."""
    for graph in onnx_tidy.graphs(model.graph):
        for role, names in (
            ("input", [v.name for v in graph.input]),
            ("output", [v.name for v in graph.output]),
            ("initializer", [t.name for t in graph.initializer]),
        ):
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                raise InvalidFile(f"The {role} {repeated[0][:NAME]!r} occurs twice; names must be unique in a graph.")
        definitions = Counter(name for node in graph.node for name in node.output if name)
        definitions.update({t.name for t in graph.initializer} | {v.name for v in graph.input})
        if repeated := [name for name, count in definitions.items() if count > 1]:
            raise InvalidFile(f"The value {repeated[0][:NAME]!r} is defined twice; in ONNX, one node produces each value.")
    _missing(model.graph, set())


def _missing(graph: GraphProto, outer: set[str]) -> None:
    """Raises InvalidFile for a value that is read but never defined; ``outer``: names from enclosing scopes."""
    defined = outer | {v.name for v in graph.input} | {t.name for t in graph.initializer}
    defined |= {s.values.name for s in graph.sparse_initializer}
    defined |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name and name not in defined:
                raise InvalidFile(
                    f"The node {(node.name or node.op_type)[:NAME]!r} reads {name[:NAME]!r}, which is never defined."
                )
        for subgraph in subgraphs(node):
            _missing(subgraph, defined)
    for value in graph.output:
        if value.name not in defined:
            raise InvalidFile(f"Nothing in the model computes the output {value.name[:NAME]!r}.")


def _values(model: Model) -> None:
    """Raises InvalidFile for raw tensor data whose size does not match the shape and dtype."""
    for location, tensor in tensors(model.proto):
        payload = model.payload(tensor)
        if payload is not None and payload.field == RAW and payload.length != byte_size(tensor):
            raise InvalidFile(
                f"{location}: its shape {list(tensor.dims[:8])} needs {byte_size(tensor)} bytes of values, but there are "
                f"{payload.length}. The file is damaged or incomplete: save it again."
            )


def _loads(model: Model, reason: str) -> None:
    """Raises InvalidFile if onnxruntime cannot load the model without optimisations; ``reason``: the cause, if known."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    from lib.onnx_model.runtime import CPU, options

    session_options = options()
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(model.path), session_options, providers=CPU)
    except MemoryError:
        raise
    except state.NotImplemented:  # no kernel for a dtype or an old operator: other runtimes may have one
        return
    except Exception as error:  # onnxruntime's errors share no public base class
        text = clean(str(error)).rpartition("failed:")[2].strip() or clean(str(error))
        raise InvalidFile(f"onnxruntime refuses this model before any conversion: {reason or text}") from None


def _outputs(model: ModelProto) -> None:
    """Raises InvalidFile if a declared output dtype or shape contradicts onnx's shape inference."""
    bare = onnx_tidy.light(model)
    for graph in onnx_tidy.graphs(bare.graph):
        del graph.value_info[:]
    for value in bare.graph.output:
        value.ClearField("type")
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # onnxruntime has already loaded the model
        return
    inferred_types = {v.name: v.type for v in inferred.graph.output}
    for value in model.graph.output:
        if not _agree(value.type, inferred_types.get(value.name, TypeProto())):
            raise InvalidFile(
                f"The source declares its output {value.name[:NAME]!r} as {_words(value.type)}, but its operators give "
                f"{_words(inferred_types[value.name])}. Correct the declaration and try again."
            )


def _agree(declared: TypeProto, given: TypeProto) -> bool:
    """Returns whether the two types are compatible. Unknown parts match anything."""
    if not (declared.HasField("tensor_type") and given.HasField("tensor_type")):
        return True
    a, b = declared.tensor_type, given.tensor_type
    if a.elem_type and b.elem_type and a.elem_type != b.elem_type:
        return False
    if not (a.HasField("shape") and b.HasField("shape")):
        return True
    fixed = [_sizes(a.shape), _sizes(b.shape)]
    return len(fixed[0]) == len(fixed[1]) and all(
        m == n or m is None or n is None for m, n in zip(fixed[0], fixed[1], strict=True)
    )


def _sizes(shape: onnx.TensorShapeProto) -> list[int | None]:
    return [d.dim_value if d.HasField("dim_value") else None for d in shape.dim]


def _words(kind: TypeProto) -> str:
    """Formats a type for a message, such as ``float32 [batch, 10]``."""
    tensor = kind.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except (KeyError, TypeError):
        dtype = "a tensor"
    if not tensor.HasField("shape"):
        return dtype
    return f"{dtype} [{', '.join(_dimensions(tensor.shape))}]"


def _dimensions(shape: onnx.TensorShapeProto) -> Iterator[str]:
    for d in shape.dim:
        yield str(d.dim_value) if d.HasField("dim_value") else "?" if nameless(d.dim_param) else d.dim_param[:NAME]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
