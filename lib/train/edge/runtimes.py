"""Runtimes for a trained classifier: its own framework, onnxruntime, LiteRT and MediaPipe. Child processes only.

Each is a context manager that closes the runtime on exit, which MediaPipe requires before the process ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.onnx_model.words import clean
from lib.reports.latency import noisy
from lib.train import pictures
from lib.train.frameworks import framework
from lib.train.runs import Run

Picture = Path | np.ndarray
RUNTIMES = ("pytorch", "onnxruntime", "litert", "mediapipe")
LIBRARIES = (
    "MediaPipe cannot be loaded on this machine: libEGL or libGLESv2 is missing. Install the packages "
    "libegl1 and libgles2 on it (apt-get install libegl1 libgles2)."
)


class Runtime(Protocol):
    """``name`` identifies the runtime; ``classes`` are in output order; ``size`` is the side of the input in pixels.

    ``noisy`` is True if the times of the last ``probabilities`` call vary widely, as on a busy machine.
    """

    name: str
    classes: tuple[str, ...]
    size: int
    noisy: bool

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        """Returns float32 [n, classes], and the median milliseconds per image without decoding.

        ``some`` are image paths, or uint8 [height, width, 3] RGB of any size. Raises InvalidFile for a path that is not an
        image.
        """
        ...


def decoded(picture: Picture) -> np.ndarray:
    return pictures.load(picture) if isinstance(picture, Path) else picture


class _SinglePicture:
    """A runtime whose ``call`` maps one image, uint8 [size, size, 3], to float32 [classes]."""

    def __init__(self, name: str, classes: tuple[str, ...], size: int, call: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name, self.classes, self.size, self._call = name, classes, size, call
        self.noisy = False

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        rows, times = np.zeros((len(some), len(self.classes)), np.float32), []
        for index, picture in enumerate(some):
            pixels = self._preprocess(decoded(picture))
            began = time.perf_counter()
            rows[index] = self._call(pixels)
            times.append(time.perf_counter() - began)
        self.noisy = noisy(np.array(times))
        return rows, round(1000 * float(np.median(times)), 3) if times else 0.0

    def _preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return pictures.resize(pixels, self.size)


class _MediaPipe(_SinglePicture):
    """MediaPipe, which resizes images itself, as on a phone."""

    def _preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels)


class _TrainedNetwork:
    """The run's own network, evaluated in batches."""

    def __init__(self, name: str, classes: tuple[str, ...], size: int, classifier: Any) -> None:
        self.name, self.classes, self.size, self._classifier = name, classes, size, classifier
        self.noisy = False  # always False: images are not timed individually

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        if not some:
            return np.zeros((0, len(self.classes)), np.float32), 0.0
        pixels = np.stack([pictures.resize(decoded(picture), self.size) for picture in some])
        began = time.perf_counter()
        output = self._classifier.probabilities(pixels)
        return output, round(1000 * (time.perf_counter() - began) / len(some), 3)


@contextmanager
def open_runtime(
    name: str, run: Run, file: Path | None = None, threads: int = 0, backbones: tuple[str, ...] = ()
) -> Iterator[Runtime]:
    """Open a runtime. ``file`` is the run's .onnx or .tflite; "pytorch" needs none and means the run's own framework.

    Raises InvalidValue for an unknown name, InvalidFile if a runtime rejects the file, JobFailed if the file is missing or
    MediaPipe cannot be loaded.
    """
    from lib.train.experiment import cores

    if name not in RUNTIMES:
        raise InvalidValue("runtime", name, ", ".join(RUNTIMES))
    record = run.record()
    recipe, classes = record.parsed_recipe(), record.classes
    if name == "pytorch":
        network = framework(recipe.framework).load(recipe, classes, run.folder, backbones)
        yield _TrainedNetwork(recipe.framework, classes, recipe.image_size, network)
        return
    if file is None or not file.is_file():
        raise JobFailed(f"{name} needs an exported file of this run. Export it first.")
    with _BY_NAME[name](file, classes, recipe.image_size, threads or cores()) as runtime:
        yield runtime


@contextmanager
def onnxruntime(file: Path, classes: tuple[str, ...], size: int, threads: int) -> Iterator[Runtime]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InvalidFile("onnxruntime rejects the file.") from error
    model_input = session.get_inputs()[0]
    _check_shapes("onnxruntime", model_input.shape[1:], session.get_outputs()[0].shape[1:], size, classes)
    yield _SinglePicture(
        "onnxruntime", classes, size, lambda x: session.run(None, {model_input.name: x[None].astype(np.float32)})[0][0]
    )


@contextmanager
def litert(file: Path, classes: tuple[str, ...], size: int, threads: int) -> Iterator[Runtime]:
    from ai_edge_litert.interpreter import Interpreter

    from lib.tflite import file as tflite_file

    tflite_file.read(file)  # validate before native code parses it
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InvalidFile("LiteRT rejects the file.") from error
    model_input, model_output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _check_shapes("LiteRT", list(model_input["shape"][1:]), list(model_output["shape"][1:]), size, classes)
    if model_input["dtype"] != np.float32 or model_output["dtype"] != np.float32:
        raise InvalidFile("The file's input or output is not float32; MediaPipe would reject it.")

    def call(pixels: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(model_input["index"], pixels[None].astype(np.float32))
        interpreter.invoke()
        return np.array(interpreter.get_tensor(model_output["index"])[0])

    yield _SinglePicture("litert", classes, size, call)


@contextmanager
def mediapipe(file: Path, classes: tuple[str, ...], size: int, threads: int) -> Iterator[Runtime]:
    """Run the file as a phone does: labels and normalization come from its metadata, and MediaPipe chooses the threads."""
    from lib.tflite import file as tflite_file

    tflite_file.read(file)
    try:
        import mediapipe as mp
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_buffer=file.read_bytes()), max_results=-1
        )
        classifier = vision.ImageClassifier.create_from_options(options)
    except (ImportError, OSError) as error:
        raise JobFailed(LIBRARIES if "cannot open shared object" in str(error) or _missing(error) else _REFUSED) from error
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        raise InvalidFile(f"{_REFUSED} Its message: {clean(str(error))[:300]}") from error
    columns = {name: column for column, name in enumerate(classes)}

    def call(pixels: np.ndarray) -> np.ndarray:
        row = np.full(len(classes), np.nan, np.float32)
        for category in classifier.classify(mp.Image(mp.ImageFormat.SRGB, pixels)).classifications[0].categories:
            if category.category_name not in columns:
                raise InvalidFile(
                    f"MediaPipe returned a class {str(category.category_name)[:60]!r} that the run does not have."
                )
            row[columns[category.category_name]] = category.score
        return row

    with classifier:
        yield _MediaPipe("mediapipe", classes, size, call)


_REFUSED = "MediaPipe rejects the file."
_BY_NAME = {"onnxruntime": onnxruntime, "litert": litert, "mediapipe": mediapipe}


def _missing(error: Exception) -> bool:
    return any(name in str(error) for name in ("libEGL", "libGLES"))


def _check_shapes(who: str, taken: list[Any], given: list[Any], size: int, classes: tuple[str, ...]) -> None:
    """Raises InvalidFile if the input or output shape does not fit the run."""
    if [int(n) if not isinstance(n, str) else n for n in taken] != [size, size, 3]:
        raise InvalidFile(f"{who}: the file's input is {list(taken)}; expected: [{size}, {size}, 3].")
    if list(given) != [len(classes)]:
        raise InvalidFile(f"{who}: the file's output is {list(given)}; the run has {len(classes)} classes.")
