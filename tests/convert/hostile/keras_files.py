"""Keras: code in layers, classes that are none of Keras', weights that lead out of their file."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import h5py
import numpy as np

from tests.convert.hostile import Made, Touch, hostile
from tests.convert.hostile.valid import DENSE, hdf5, keras, keras_config, unzipped, zipped


def layer(
    class_name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def dense(**config: Any) -> dict[str, Any]:
    one = copy.deepcopy(DENSE)
    one["config"] |= config
    return one


LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None, "closure": None}}
LAYERS: dict[str, tuple[dict[str, Any], str]] = {
    "Lambda": (layer("Lambda", function=LAMBDA), "Lambda layer is Python code"),
    "a lambda as activation": (dense(activation=LAMBDA), "__lambda__"),
    "TFSMLayer": (layer("TFSMLayer", filepath="/tmp/x"), "loads another model"),
    "TorchModuleWrapper": (layer("TorchModuleWrapper", module="x"), "pickle of PyTorch"),
    "JaxLayer": (layer("JaxLayer"), "not allowed"),
    "a class of builtins": (layer("eval", "builtins"), "builtins.eval"),
    "a function of builtins": ({**layer("function", "builtins"), "config": "exec"}, "function.exec"),
    "a function that is an object": ({**layer("function", "builtins"), "config": {}}, "not allowed"),
    "a list as class": ({"class_name": [], "module": {}, "config": {}}, "not allowed"),
    "a function of os": (layer("system", "os"), "os.system"),
    "a module of keras.src": (layer("func_load", "keras.src.utils.python_utils"), "func_load"),
    "get_file": (layer("get_file", "keras.utils"), "keras.utils.get_file"),
    "load_model": (layer("load_model", "keras.saving"), "load_model"),
    "enable_unsafe_deserialization": (layer("enable_unsafe_deserialization", "keras.config"), "not allowed"),
    "a custom class": (layer("Mine", "mine", "package>Mine"), "registered as 'package>Mine'"),
    "a custom name on a layer of Keras": (layer("Dense", registered="package>Dense"), "package>Dense"),
    "a class without a module": (layer("Dense", None), "not allowed"),
    "an operation that takes functions": (layer("Map", "keras.src.ops.core"), "not allowed"),
    "keras_hub": (layer("Backbone", "keras_hub.models"), "not allowed"),
    "a typespec": ({"class_name": "__typespec__", "spec_name": "x", "module": "os", "registered_name": "x"}, "not allowed"),
    "a vocabulary in a file": (layer("IntegerLookup", vocabulary="/etc/passwd"), "not allowed"),
    "a class deep inside": (dense(kernel_initializer=dense(x=[[[layer("system", "os")]]])), "os.system"),
    "an unknown activation": (dense(activation="os.system"), "activation"),
    "a number as class": ({"class_name": 3, "module": "keras.layers", "config": {}}, "not allowed"),
}
for name, (one, words) in LAYERS.items():
    hostile(words, f"keras: {name}")(lambda one=one: keras(keras_config(one)))

hostile("not allowed", "keras: the model's own class")(lambda: keras(keras_config(module="os", class_name="system")))
hostile("does not name the model's class", "keras: no class")(lambda: keras({"config": {}}))
hostile("allowed:", "keras: pickle in its assets")(lambda: keras(**{"assets/layer/x.pkl": pickle.dumps(Touch())}))
hostile("allowed:", "keras: another member")(lambda: keras(**{"run.py": b"print()"}))
hostile("only Keras 3 is supported", "keras: metadata of Keras 2")(
    lambda: zipped(unzipped(keras()) | {"metadata.json": b'{"keras_version": "2.15.1"}'})
)


def twice(weights: h5py.File) -> None:
    weights["layers/other"] = weights["layers/dense"]


def circle(weights: h5py.File) -> None:
    weights["layers/dense/again"] = weights["layers"]


def external_link(weights: h5py.File) -> None:
    weights["layers/x"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(weights: h5py.File) -> None:
    weights["layers/x"] = h5py.SoftLink("/layers/dense")


def external_storage(weights: h5py.File) -> None:
    weights.create_dataset("layers/x", (16,), "u1", external=[("/etc/passwd", 0, 16)])


def virtual(weights: h5py.File) -> None:
    plan = h5py.VirtualLayout((4,), "f4")
    plan[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    weights.create_virtual_dataset("layers/x", plan)


def reference(weights: h5py.File) -> None:
    weights.create_dataset("layers/x", (1,), h5py.ref_dtype)


def text(weights: h5py.File) -> None:
    weights["layers/x"] = "text"


def named_type(weights: h5py.File) -> None:
    weights["layers/x"] = np.dtype("f4")


def never_written(weights: h5py.File) -> None:
    weights.create_dataset("layers/x", (1 << 40,), "f4", chunks=(1 << 20,))


def bomb(weights: h5py.File) -> None:
    weights.create_dataset("layers/x", (1 << 33,), "f4", chunks=(1 << 20,), compression="gzip")[: 1 << 20] = 0


def deep(weights: h5py.File) -> None:
    weights.create_group("/".join(["d"] * 60))


def other_filter(weights: h5py.File) -> None:
    weights.create_dataset("layers/x", data=np.zeros(4096, "f4"), compression="lzf")


WEIGHTS = {
    twice: "occurs twice",
    circle: "occurs twice",
    external_link: "a soft or external link",
    soft_link: "a soft or external link",
    external_storage: "in another file",
    virtual: "in another file",
    reference: "does not hold numbers",
    text: "does not hold numbers",
    named_type: "neither an array nor a group",
    never_written: "are stored",
    bomb: "are stored",
    deep: "nested over",
    other_filter: "a compression plug-in",
}
for change, words in WEIGHTS.items():
    hostile(words, f"keras: weights with {change.__name__.replace('_', ' ')}")(
        lambda change=change: keras(weights=hdf5(change))
    )

hostile("not an HDF5 file", "keras: weights that are a pickle")(lambda: keras(weights=pickle.dumps(Touch())))
for share in (0.05, 0.3, 0.7, 0.98):
    hostile("damaged", f"keras: weights cut to {share:.0%}")(
        lambda share=share: keras(weights=(d := hdf5())[: int(len(d) * share)])
    )


@hostile("occurs twice", "keras: a name twice in config.json")
def name_twice() -> Made:
    members = unzipped(keras())
    return zipped(members | {"config.json": members["config.json"][:-1] + b', "module": "os"}'})
