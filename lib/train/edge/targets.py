"""The files that a run becomes, and what each is made of."""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import InvalidValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``base`` is the target whose file this one is made from, "" for the run itself; ``precision`` fp32, fp16 or int8."""

    name: str
    file: str
    title: str
    precision: str
    base: str

    @property
    def runtime(self) -> str:
        """Where its file is run for the check."""
        return "onnxruntime" if self.name == "onnx" else "mediapipe"


_ALL = (
    Target(name="onnx", file="model.onnx", title="ONNX", precision="fp32", base=""),
    Target(name="tflite", file="model.tflite", title="TensorFlow Lite, float32", precision="fp32", base="onnx"),
    Target(name="tflite-fp16", file="model-fp16.tflite", title="TensorFlow Lite, float16", precision="fp16", base="tflite"),
    Target(name="tflite-int8", file="model-int8.tflite", title="TensorFlow Lite, int8", precision="int8", base="tflite"),
)
TARGETS = tuple(target.name for target in _ALL)


def find(name: str) -> Target:
    """Raises InvalidValue with the names that there are."""
    for target in _ALL:
        if target.name == name:
            return target
    raise InvalidValue("target", name, ", ".join(TARGETS))


def line(name: str) -> list[Target]:
    """What ``name`` is made of, the run's own file first, and itself. Raises InvalidValue."""
    found = [find(name)]
    while found[0].base:
        found.insert(0, find(found[0].base))
    return found
