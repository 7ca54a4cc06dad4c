"""Opens and saves ONNX artifacts: a folder with ``model.onnx`` and its external data.

Nothing here runs a model. Call ``opened`` before any loader of onnx or onnxruntime: it rejects unsafe files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx.inliner
from onnx import ModelProto

from lib.convert.formats.onnx.opset.version import WHOLE, opset
from lib.errors import InvalidFile, JobFailed
from lib.onnx_model import functions
from lib.onnx_model.open import Model, open_model
from lib.onnx_model.words import clean

NAME = "model.onnx"
SHAPELESS = "Field 'shape' of 'type' is required but missing"


def opened(folder: Path) -> Model:
    """Returns the artifact's parsed structure.

    Raises InvalidFile for paths that leave the folder, missing external data, or recursive functions.
    """
    path = folder / NAME
    if not path.is_file():
        raise InvalidFile(f"There is no {NAME} in this artifact.")
    companions = {p.name: p for p in folder.iterdir() if p.is_file() and not p.is_symlink() and p != path}
    model = open_model(path, companions)
    for location, reason in model.missing.items():
        raise InvalidFile(f"{location}: {reason}. Upload that file together with the model.")
    try:
        functions.inlined_size(model.proto)
    except functions.Recursive as error:
        raise InvalidFile(f"The model cannot be run: {error}.") from None
    return model


def read(folder: Path) -> ModelProto:
    """Loads the whole model with its weights, after the checks of ``opened``."""
    opened(folder)
    return onnx.load(str(folder / NAME))


def tidied(folder: Path) -> ModelProto:
    """Loads the model with its local functions inlined, normalised for graph tools (``onnx_tidy``).

    A model older than onnxruntime's first opset is converted to that opset.
    """
    from lib.convert.formats.onnx import metadata as onnx_metadata
    from lib.convert.formats.onnx import tidy as onnx_tidy
    from lib.convert.formats.onnx.opset import broadcast as opset_broadcast
    from lib.convert.formats.onnx.opset.convert import convert

    model = onnx_tidy.tidy(inlined(read(folder)))
    if opset(model) >= opset_broadcast.FIRST:
        return model
    onnx_tidy.weights_are_no_inputs(model)  # files this old had to list them
    metadata = onnx_metadata.of(model)
    model = convert(model, opset_broadcast.FIRST)
    metadata.keep(model)
    return model


def write(model: ModelProto, folder: Path, source: Path | None = None) -> Path:
    """Saves the model into the artifact ``folder`` and checks the saved file. Raises JobFailed for an invalid model.

    If onnx's checker rejects the artifact ``source`` too, the tool is not to blame: onnxruntime decides instead.
    """
    path = folder / NAME
    save(model, path)
    try:
        check(path)
    except JobFailed:
        if source is None or _passes(source / NAME):
            raise
        loads(path)
    return path


def _passes(path: Path) -> bool:
    try:
        check(path)
    except JobFailed:
        return False
    return True


def save(model: ModelProto, path: Path) -> None:
    """Saves without checks; weights go into an external data file if one protobuf cannot hold them."""
    if model.ByteSize() > WHOLE:
        onnx.save(model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=f"{path.name}.data")
    else:
        path.write_bytes(model.SerializeToString())


def check(path: Path) -> None:
    """Runs onnx's full checker on a path (an in-memory check is limited to 2 GB). Raises JobFailed."""
    try:
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except onnx.checker.ValidationError as error:
            # exporters omit output shapes; the checker stops there, while shape inference still checks the rest
            if SHAPELESS not in str(error):
                raise
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                onnx.shape_inference.infer_shapes_path(
                    str(path), str(Path(folder) / NAME), check_type=True, strict_mode=True
                )
    except Exception as error:  # raised by onnx or protobuf
        raise JobFailed(f"The tool produced an invalid ONNX model: {clean(str(error))}") from None


def loads(path: Path) -> None:
    """Raises JobFailed with onnxruntime's message if it cannot load the saved model."""
    import onnxruntime

    from lib.onnx_model.runtime import CPU, options

    try:
        onnxruntime.InferenceSession(str(path), options(), providers=CPU)
    except Exception as error:  # onnxruntime's errors share no public base class
        raise JobFailed(f"The tool produced a model that onnxruntime rejects: {clean(str(error))}") from None


def inlined(model: ModelProto) -> ModelProto:
    """Returns the model with its local functions inlined: graph tools do not look into them."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def operators(model: ModelProto) -> dict[str, int]:
    """Counts the nodes per operator type, subgraphs included."""
    counts: dict[str, int] = {}
    for node in functions.all_nodes(model.graph.node):
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts
