"""The files that a run can be exported to, and what each is made from."""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import InvalidValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``base`` is the target that this file is made from, "" for the run itself; ``precision`` is fp32, fp16 or int8."""

    name: str
    file: str
    title: str
    precision: str
    base: str

    @property
    def runtime(self) -> str:
        """The runtime in which the file is checked."""
        return "onnxruntime" if self.name == "onnx" else "mediapipe"


_ALL = (
    Target(name="onnx", file="model.onnx", title="ONNX", precision="fp32", base=""),
    Target(name="tflite", file="model.tflite", title="TensorFlow Lite, float32", precision="fp32", base="onnx"),
    Target(name="tflite-fp16", file="model-fp16.tflite", title="TensorFlow Lite, float16", precision="fp16", base="tflite"),
    Target(name="tflite-int8", file="model-int8.tflite", title="TensorFlow Lite, int8", precision="int8", base="tflite"),
)
TARGETS = tuple(target.name for target in _ALL)


def find(name: str) -> Target:
    """Returns the target ``name``. Raises InvalidValue with the available names."""
    for target in _ALL:
        if target.name == name:
            return target
    raise InvalidValue("target", name, ", ".join(TARGETS))


def line(name: str) -> list[Target]:
    """Returns the targets that lead to ``name``, the run's own export first and ``name`` last. Raises InvalidValue."""
    chain = [find(name)]
    while chain[0].base:
        chain.insert(0, find(chain[0].base))
    return chain
