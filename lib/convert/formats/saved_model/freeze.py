"""Makes a signature's function one that reads nothing from outside: variables, constants and tables become constants.

Refuses variables that change while the model runs: ONNX has none. Needs TensorFlow.
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
    """A function of the ``inputs`` by position that gives ``output_0`` …, and its input signature (``input_0`` …).

    Raises InvalidFile for a model that keeps something from run to run, JobFailed where it cannot be frozen.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    _refuse_changes(function)
    _, specs = function.structured_input_signature
    wanted = [tf.TensorSpec(specs[n].shape, specs[n].dtype, name=f"input_{k}") for k, n in enumerate(inputs)]
    try:
        made = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    except Exception as error:  # TensorFlow's many kinds
        raise JobFailed(f"TensorFlow cannot make constants of this model's variables: {clean(str(error))}") from None
    graph = made.graph.as_graph_def()
    for node in graph.node:  # what only has an effect does not count
        node.input[:] = [n for n in node.input if not n.startswith("^")]
    # TensorFlow flattens dicts by their sorted keys; what is captured comes behind
    places = dict(zip(sorted(specs), (t.name for t in function.inputs), strict=False))
    ends = dict(zip(sorted(function.structured_outputs), (t.name for t in made.outputs), strict=True))
    tables = _tables(graph, function)

    def call(*given: Any) -> dict[str, Any]:
        known = {places[n]: value for n, value in zip(inputs, given, strict=True)}
        for table in tables:
            table.answer(known, *_part(graph, known, table.asks))
        found = _part(graph, known, [ends[n] for n in outputs])
        # Identity: an output may be an input or another output as it is
        return {f"output_{k}": tf.identity(value) for k, value in enumerate(found)}

    return call, wanted


def _part(graph: Any, known: dict[str, Any], wanted: list[str]) -> list[Any]:
    """These tensors of the graph, where the tensors in ``known`` have these values."""
    import tensorflow as tf

    part = tf.compat.v1.graph_util.extract_sub_graph(graph, [n.partition(":")[0] for n in wanted])
    there = {node.name for node in part.node}
    return tf.graph_util.import_graph_def(part, {n: v for n, v in known.items() if n.partition(":")[0] in there}, wanted)


@dataclass(slots=True)
class Table:
    """A lookup, and what its table holds. ``asks``: the tensors of the keys looked for and of the default."""

    answers: str
    asks: list[str]
    keys: Any
    values: Any

    def answer(self, known: dict[str, Any], asked: Any, default: Any) -> None:
        """Adds what the table gives: the value of the equal key, else the default."""
        import tensorflow as tf

        equal = tf.cast(tf.equal(tf.expand_dims(asked, -1), tf.constant(self.keys)), tf.int32)
        found = tf.gather(tf.constant(self.values), tf.argmax(equal, axis=-1))
        known[self.answers] = tf.where(tf.reduce_max(equal, axis=-1) > 0, found, default)


def _refuse_changes(function: Any) -> None:
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    if found := sorted({n.op for n in nodes if CHANGES.fullmatch(n.op)}):
        raise InvalidFile(
            f"The SavedModel changes what it keeps while it runs ({', '.join(found)[:200]}); ONNX keeps nothing."
            " Export a signature that only computes."
        )


def _tables(graph: Any, function: Any) -> list[Table]:
    """Takes every lookup out of the graph: a placeholder stands for it. Raises JobFailed for tables of other kinds."""
    import tensorflow as tf

    behind = len(function.inputs) - len(function.captured_inputs)
    handles = {t.name: c for t, c in zip(function.inputs[behind:], function.captured_inputs, strict=True)}
    same = {n.name: n.input[0] for n in graph.node if n.op == "Identity"}
    if any(n.op == LOOKUP for f in graph.library.function for n in f.node_def):
        raise JobFailed("The SavedModel looks up a table inside a loop or a branch, which is not converted.")
    found = []
    for node in (n for n in graph.node if n.op == LOOKUP):
        name = node.input[0]
        while name in same:
            name = same[name]
        kinds = [tf.dtypes.as_dtype(node.attr[attribute].type) for attribute in ("Tin", "Tout")]
        if f"{name}:0" not in handles or tf.string in kinds:
            raise JobFailed("The SavedModel looks up a table of text; put it in front of the model, not into it.")
        keys, values = tf.raw_ops.LookupTableExportV2(table_handle=handles[f"{name}:0"], Tkeys=kinds[0], Tvalues=kinds[1])
        if not 0 < len(keys) <= MAX_KEYS:
            raise JobFailed(f"The SavedModel looks up a table of {len(keys):,} entries; 1 to {MAX_KEYS:,} are converted.")
        asks = [n if ":" in n else f"{n}:0" for n in node.input[1:3]]
        found.append(Table(f"{node.name}:0", asks, keys.numpy(), values.numpy()))
        node.op = "Placeholder"
        del node.input[:]
        node.attr.clear()
        node.attr["dtype"].type = kinds[1].as_datatype_enum
    return found
