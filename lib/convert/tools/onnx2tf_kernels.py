"""TensorFlow kernels for operators that are missing or wrong in onnx2tf's SavedModel writer (2.6.9).

Wrong are RESHAPE, which prefers the shape recorded at conversion to the one computed at run time; ARG_MAX and ARG_MIN with
their axis in a list; and DEPTHWISE_CONV_2D, whose filter and dilations are in TensorFlow Lite's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kernel = Callable[[Any, Any, dict[str, Any]], None]


def add() -> None:
    """Registers the kernels with onnx2tf. Needs TensorFlow."""
    import tensorflow as tf
    from onnx2tf.tflite_builder import saved_model_exporter as exporter

    unary: dict[str, Callable[[Any], Any]] = {
        "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3) / 6,
        "ROUND": tf.round,
        "IDENTITY": tf.identity,
        "RELU_0_TO_1": lambda x: tf.clip_by_value(x, 0, 1),
    }
    for name, compute in unary.items():
        exporter._REGISTERED_KERNELS.setdefault(name, _simple(compute))
    exporter._REGISTERED_KERNELS |= {
        "RESHAPE": _reshape,
        "ARG_MAX": _best(tf.argmax),
        "ARG_MIN": _best(tf.argmin),
        "DEPTHWISE_CONV_2D": _depthwise,
    }
    exporter.SUPPORTED_KERNEL_OP_TYPES.update(exporter._REGISTERED_KERNELS)


def _simple(compute: Callable[[Any], Any]) -> Kernel:
    def run(executor: Any, operator: Any, known: dict[str, Any]) -> None:
        executor._assign_outputs(operator, [compute(executor._resolve_tensor(operator.inputs[0], known))], known)

    return run


def _reshape(executor: Any, operator: Any, known: dict[str, Any]) -> None:
    import tensorflow as tf

    values = executor._resolve_tensor(operator.inputs[0], known)
    if len(operator.inputs) > 1:
        shape = tf.cast(executor._resolve_tensor(operator.inputs[1], known), tf.int32)
    else:
        shape = tf.constant([int(d) for d in operator.options["newShape"]], tf.int32)
    executor._assign_outputs(operator, [tf.reshape(values, shape)], known)


def _best(compute: Callable[..., Any]) -> Kernel:
    def run(executor: Any, operator: Any, known: dict[str, Any]) -> None:
        import tensorflow as tf

        values, axis = (executor._resolve_tensor(name, known) for name in operator.inputs[:2])
        dtype = tf.int32 if str(operator.options.get("outputType", "INT64")).upper() == "INT32" else tf.int64
        result = compute(values, axis=tf.reshape(tf.cast(axis, tf.int32), []), output_type=dtype)
        executor._assign_outputs(operator, [result], known)

    return run


def _depthwise(executor: Any, operator: Any, known: dict[str, Any]) -> None:
    """Runs DEPTHWISE_CONV_2D. The filter is [1, height, width, channels * multiplier], the multiplier varies fastest."""
    import tensorflow as tf
    from onnx2tf.tflite_builder import saved_model_exporter as exporter

    values, kernel = (executor._resolve_tensor(name, known) for name in operator.inputs[:2])
    bias = executor._resolve_optional_tensor(operator.inputs[2], known) if len(operator.inputs) > 2 else None
    options = operator.options
    multiplier = int(options.get("depthMultiplier", 1))
    _, height, width, channels = kernel.shape
    strides = [1, int(options.get("strideH", 1)), int(options.get("strideW", 1)), 1]
    result = tf.nn.depthwise_conv2d(
        values,
        tf.reshape(kernel, [height, width, channels // multiplier, multiplier]),
        strides=strides,
        padding=str(options.get("padding", "SAME")).upper(),
        dilations=[int(options.get("dilationHFactor", 1)), int(options.get("dilationWFactor", 1))],
    )
    if bias is not None:
        result = tf.nn.bias_add(result, bias)
    result = exporter._apply_fused_activation(result, str(options.get("fusedActivationFunction", "NONE")))
    executor._assign_outputs(operator, [result], known)
