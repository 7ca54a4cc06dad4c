"""What the installed onnxruntime can load, asked of onnxruntime itself; a session with safe options, and how it is fed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

CPU = ["CPUExecutionProvider"]
# as onnxruntime calls the dtypes that numpy does not have
NARROW = frozenset(
    f"tensor({name})"
    for name in """bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0 float4e2m1
    int4 uint4 int2 uint2""".split()  # noqa: SIM905
)


@cache
def supported() -> dict[str, Any]:
    """``version``, the highest ``opset`` of ai.onnx and the highest ``ir`` that it loads."""
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", [value], [out])

    def loads(opset: int, ir: int) -> bool:
        probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
        try:
            onnxruntime.InferenceSession(probe.SerializeToString(), options(), providers=CPU)
        except Exception:  # onnxruntime's errors share no public base class
            return False
        return True

    newest = onnx.defs.onnx_opset_version()
    opset = next((n for n in range(newest + 1, 0, -1) if loads(n, 8)), 0)
    ir = next((n for n in range(int(onnx.IR_VERSION) + 2, 0, -1) if loads(min(opset, 20), n)), 0)
    return {"version": onnxruntime.__version__, "opset": opset, "ir": ir}


@cache
def kernels() -> frozenset[tuple[str, str]]:
    """(domain, operator) of every kernel for the CPU; ai.onnx is ""."""
    found = {(k.domain, k.op_name) for k in state.get_all_opkernel_def() if k.provider == CPU[0]}
    return frozenset(("" if d == "ai.onnx" else d, name) for d, name in found)


def options(*, threads: int = 0, profile: str = "") -> onnxruntime.SessionOptions:
    """Quiet, deterministic; ``profile`` is a file prefix. 0 threads lets onnxruntime choose."""
    out = onnxruntime.SessionOptions()
    out.log_severity_level = 4  # native text must not reach a visitor
    out.intra_op_num_threads = threads
    if profile:
        out.enable_profiling, out.profile_file_prefix = True, profile
    return out


def ready(
    session: onnxruntime.InferenceSession, values: dict[str, np.ndarray], how: onnxruntime.RunOptions | None = None
) -> Callable[[], list[Any]]:
    """A function that runs ``session`` on ``values``, given over once, and returns its outputs.

    onnxruntime's Python passes no bfloat16, float8 or 4-bit arrays; these go over as their bytes.
    """
    # numpy makes a scalar of any computation on arrays without dimensions, and onnxruntime takes no numpy.bool
    arrays = {name: np.asarray(v) for name, v in values.items()}
    given = {name: _value(v) if narrow(v) else v for name, v in arrays.items()}
    if not any(o.type in NARROW for o in session.get_outputs()):
        return lambda: session.run(None, given, how)

    def call() -> list[Any]:
        binding = session.io_binding()
        for name, value in given.items():
            bind = binding.bind_cpu_input if isinstance(value, np.ndarray) else binding.bind_ortvalue_input
            bind(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        session.run_with_iobinding(binding, how)
        return [_array(v) if v.data_type() in NARROW else v.numpy() for v in binding.get_outputs()]

    return call


def narrow(value: object) -> bool:
    """An array of a dtype that is ml_dtypes' and not numpy's own."""
    return isinstance(value, np.ndarray) and value.dtype.isbuiltin == 2


def _value(array: np.ndarray) -> onnxruntime.OrtValue:
    proto = numpy_helper.from_array(array)  # packs what is smaller than a byte
    out = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), proto.data_type)
    ctypes.memmove(out.data_ptr(), proto.raw_data, len(proto.raw_data))
    return out


def _array(value: onnxruntime.OrtValue) -> np.ndarray:
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return numpy_helper.to_array(TensorProto(data_type=value.element_type(), dims=value.shape(), raw_data=data))
