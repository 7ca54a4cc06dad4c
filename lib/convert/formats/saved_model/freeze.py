"""Freezes a signature's function: variables, captured constants and lookup tables become constants of the graph.

Refuses models that change their variables while they run, since ONNX has no state. Needs TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.errors import InvalidFile, JobFailed
from lib.onnx_model.words import clean

CHANGES = re.compile(r"Assign\w*VariableOp|ResourceScatter\w+|LookupTableInsert\w*|LookupTableRemove\w*")
LOOKUP, MAX_KEYS = "LookupTableFindV2", 10_000


def frozen(function: Any, inputs: list[str], outputs: list[str]) -> tuple[Callable[..., dict[str, Any]], list[Any]]:
    """Returns a frozen function and its input signature (``input_0`` …).

    The function takes the ``inputs`` by position and returns ``output_0`` … in the order of ``outputs``. Raises
    InvalidFile for a stateful model, JobFailed if it cannot be frozen.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    _refuse_changes(function)
    _, specs = function.structured_input_signature
    input_specs = [tf.TensorSpec(specs[n].shape, specs[n].dtype, name=f"input_{k}") for k, n in enumerate(inputs)]
    try:
        constant_function = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    except Exception as error:  # TensorFlow raises many kinds of errors
        raise JobFailed(f"TensorFlow cannot freeze this model's variables: {clean(str(error))}") from None
    graph = constant_function.graph.as_graph_def()
    for node in graph.node:  # drop control inputs: side effects do not matter here
        node.input[:] = [n for n in node.input if not n.startswith("^")]
    # TensorFlow flattens dicts by sorted key; captured tensors follow the arguments
    input_tensors = dict(zip(sorted(specs), (t.name for t in function.inputs), strict=False))
    output_tensors = dict(zip(sorted(function.structured_outputs), (t.name for t in constant_function.outputs), strict=True))
    tables = _tables(graph, function)

    def call(*given: Any) -> dict[str, Any]:
        known_tensors = {input_tensors[n]: value for n, value in zip(inputs, given, strict=True)}
        for table in tables:
            table.answer(known_tensors, *_part(graph, known_tensors, table.asks))
        results = _part(graph, known_tensors, [output_tensors[n] for n in outputs])
        # identity, because an output may be the same tensor as an input or another output
        return {f"output_{k}": tf.identity(value) for k, value in enumerate(results)}

    return call, input_specs


def _part(graph: Any, known: dict[str, Any], wanted: list[str]) -> list[Any]:
    """Imports the subgraph of the ``wanted`` tensors with the tensors in ``known`` replaced; returns the tensors."""
    import tensorflow as tf

    part = tf.compat.v1.graph_util.extract_sub_graph(graph, [n.partition(":")[0] for n in wanted])
    present = {node.name for node in part.node}
    return tf.graph_util.import_graph_def(part, {n: v for n, v in known.items() if n.partition(":")[0] in present}, wanted)


@dataclass(slots=True)
class Table:
    """A table lookup: ``answers`` names its output tensor, ``asks`` the tensors of its query and its default."""

    answers: str
    asks: list[str]
    keys: Any
    values: Any

    def answer(self, known: dict[str, Any], asked: Any, default: Any) -> None:
        """Adds the lookup's output to ``known``: the value of the matching key, else the default."""
        import tensorflow as tf

        equal = tf.cast(tf.equal(tf.expand_dims(asked, -1), tf.constant(self.keys)), tf.int32)
        matches = tf.gather(tf.constant(self.values), tf.argmax(equal, axis=-1))
        known[self.answers] = tf.where(tf.reduce_max(equal, axis=-1) > 0, matches, default)


def _refuse_changes(function: Any) -> None:
    """Raises InvalidFile if the function writes to variables or tables."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    if writers := sorted({n.op for n in nodes if CHANGES.fullmatch(n.op)}):
        raise InvalidFile(
            f"The SavedModel updates its state while it runs ({', '.join(writers)[:200]}); ONNX models are stateless. "
            "Export a signature that only computes."
        )


def _tables(graph: Any, function: Any) -> list[Table]:
    """Replaces every lookup in ``graph`` by a placeholder and returns the lookups.

    Raises JobFailed for string tables, tables that are too large, and lookups inside a loop or a branch.
    """
    import tensorflow as tf

    first_captured = len(function.inputs) - len(function.captured_inputs)
    handles = {t.name: c for t, c in zip(function.inputs[first_captured:], function.captured_inputs, strict=True)}
    identities = {n.name: n.input[0] for n in graph.node if n.op == "Identity"}
    if any(n.op == LOOKUP for f in graph.library.function for n in f.node_def):
        raise JobFailed("The SavedModel uses a lookup table inside a loop or a branch, which is not supported.")
    tables = []
    for node in (n for n in graph.node if n.op == LOOKUP):
        handle = node.input[0]
        while handle in identities:
            handle = identities[handle]
        dtypes = [tf.dtypes.as_dtype(node.attr[attribute].type) for attribute in ("Tin", "Tout")]
        if f"{handle}:0" not in handles or tf.string in dtypes:
            raise JobFailed("The SavedModel uses a lookup table of text; run it before the model instead.")
        keys, values = tf.raw_ops.LookupTableExportV2(
            table_handle=handles[f"{handle}:0"], Tkeys=dtypes[0], Tvalues=dtypes[1]
        )
        if not 0 < len(keys) <= MAX_KEYS:
            raise JobFailed(f"The SavedModel uses a lookup table of {len(keys):,} entries; 1 to {MAX_KEYS:,} are supported.")
        asks = [n if ":" in n else f"{n}:0" for n in node.input[1:3]]
        tables.append(Table(f"{node.name}:0", asks, keys.numpy(), values.numpy()))
        node.op = "Placeholder"
        del node.input[:]
        node.attr.clear()
        node.attr["dtype"].type = dtypes[1].as_datatype_enum
    return tables
