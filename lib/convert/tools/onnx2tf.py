"""Calls onnx2tf on a copy of the model, since it rewrites its input file; it also prints, and exits on failure."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.convert.formats.onnx.names import every_name, rename, unused
from lib.errors import JobFailed
from lib.onnx_model.words import clean


@contextmanager
def converted(
    source: Path, fixed: dict[str, int], kept: tuple[str, ...] = (), **options: Any
) -> Iterator[tuple[Path, list[str]]]:
    """Yields a temporary folder with onnx2tf's output for an ONNX artifact, and messages.

    Inputs and outputs keep their axis order; inputs in ``kept`` are rewritten to enforce it. ``fixed``: input dimensions to
    fix first. If onnx2tf fails, tries again with the model slimmed by onnxslim, if that is installed. Raises JobFailed with
    onnx2tf's message.
    """
    from lib.convert.formats.onnx import files as onnx_files

    model = prepared(onnx_files.inlined(onnx_files.read(source)), fixed)
    for k, value in enumerate(v for v in model.graph.input if v.name in kept):
        _keep_input(model.graph, value, k)
    if model.ByteSize() > onnx_files.WHOLE:
        raise JobFailed("The model is larger than the 1.9 GB that one TensorFlow Lite file can hold.")
    messages: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            output_folder = _run(model, Path(scratch) / "plain", options)
        except JobFailed as first:
            slimmed = _slimmed(model)
            if slimmed is None:
                raise
            try:
                output_folder = _run(slimmed, Path(scratch) / "slimmed", options)
            except JobFailed:
                raise first from None
            messages.append(
                f"The model was slimmed first (onnxslim), because onnx2tf failed on the original: {first.message}"
            )
        yield output_folder, messages


def prepared(model: Any, fixed: dict[str, int]) -> Any:
    """Returns the model with ``fixed`` sizes in its inputs, and with outputs that onnx2tf cannot turn channels-last.

    onnx2tf drops a Transpose before an output. Flattening the output and reshaping it back costs no copy and pins the
    axis order.
    """
    import onnx

    for value in model.graph.input:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            size = fixed.get(dimension.dim_param or f"{value.name}[{axis}]")
            if size is not None and not dimension.HasField("dim_value"):
                dimension.dim_value = size
    if fixed:
        del model.graph.value_info[:]
        for value in model.graph.output:
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_param:
                    dimension.Clear()
        model = onnx.shape_inference.infer_shapes(model)
    _split_transpositions(model.graph)
    for k, value in enumerate(model.graph.output):
        if value.type.tensor_type.HasField("shape") and len(value.type.tensor_type.shape.dim) > 2:
            _keep_order(model.graph, value, k)
    return model


def _split_transpositions(graph: Any) -> None:
    """Duplicates a Transpose that gives an output and has readers: onnx2tf folds it into a Conv and loses the output."""
    outputs, used_names, nodes = {v.name for v in graph.output}, every_name(graph), []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Transpose" or node.output[0] not in outputs:
            continue
        readers = [n for n in graph.node if node.output[0] in n.input]
        if readers:
            duplicate = type(node)()
            duplicate.CopyFrom(node)
            duplicate.output[0] = duplicate.name = unused(f"{node.output[0]}_again", used_names)
            nodes.append(duplicate)
            for reader in readers:
                for k, name in enumerate(reader.input):
                    if name == node.output[0]:
                        reader.input[k] = duplicate.output[0]
    if len(nodes) > len(graph.node):
        copies = [type(n).FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _keep_order(graph: Any, value: Any, number: int) -> None:
    from onnx import TensorProto, helper

    name, used_names = value.name, every_name(graph)
    inner = unused(f"{name}_inner", used_names)
    listed, shape, flat, back = (unused(f"kept_order_{number}_{p}", used_names) for p in ("list", "shape", "flat", "back"))
    rename(graph, {name: inner})
    value.name = name  # the graph's output keeps its name
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
    graph.initializer.append(helper.make_tensor(listed, TensorProto.INT64, [1], [-1]))
    if dims.count(-1) <= 1 and 0 not in dims:
        graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [len(dims)], dims))
    else:
        graph.node.append(helper.make_node("Shape", [inner], [shape], name=shape))
    graph.node.append(helper.make_node("Reshape", [inner, listed], [flat], name=flat))
    graph.node.append(helper.make_node("Reshape", [flat, shape], [name], name=back))


def _keep_input(graph: Any, value: Any, number: int) -> None:
    """Flattens the input and reshapes it back, so that onnx2tf cannot fold a Transpose into it."""
    from onnx import TensorProto, helper

    name, used_names = value.name, every_name(graph)
    inner = unused(f"{name}_inner", used_names)
    listed, shape, flat = (unused(f"kept_input_{number}_{p}", used_names) for p in ("list", "shape", "flat"))
    rename(graph, {name: inner})
    value.name = name  # the graph's input keeps its name
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
    graph.initializer.append(helper.make_tensor(listed, TensorProto.INT64, [1], [-1]))
    prefix = [helper.make_node("Reshape", [name, listed], [flat], name=flat)]
    if dims.count(-1) <= 1:
        graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [len(dims)], dims))
    else:
        prefix.append(helper.make_node("Shape", [name], [shape], name=shape))
    prefix.append(helper.make_node("Reshape", [flat, shape], [inner], name=f"{flat}_back"))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(prefix + nodes)


def _run(model: Any, folder: Path, options: dict[str, Any]) -> Path:
    import onnx2tf

    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    initializers = {t.name for t in model.graph.initializer}
    printed = io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            onnx2tf.convert(
                input_onnx_file_path=str(path),
                output_folder_path=str(folder / "out"),
                keep_shape_absolutely_input_names=[i.name for i in model.graph.input if i.name not in initializers],
                copy_onnx_input_output_names_to_tflite=True,
                not_use_onnxsim=True,
                non_verbose=True,
                verbosity="error",
                **options,
            )
    except (Exception, SystemExit) as error:  # onnx2tf raises many types, and calls sys.exit
        deepest = error
        while deepest.__cause__ is not None or deepest.__context__ is not None:
            deepest = deepest.__cause__ or deepest.__context__
        words = clean(str(deepest)) if not isinstance(deepest, SystemExit) else clean(printed.getvalue()[-400:])
        raise JobFailed(f"onnx2tf gave up: {words or type(deepest).__name__}") from None
    finally:
        os.chdir(before)
    return folder / "out"


def _slimmed(model: Any) -> Any | None:
    try:
        import onnxslim
    except ImportError:
        return None
    try:
        return onnxslim.slim(model)
    except Exception:  # onnxslim failed: there is nothing else to try
        return None
