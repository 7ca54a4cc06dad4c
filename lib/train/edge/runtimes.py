"""The runtimes that run a trained classifier: its own framework, onnxruntime, LiteRT, MediaPipe. Child processes only.

Each is a context: leaving it closes the runtime, which MediaPipe needs before the process ends.
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
    "MediaPipe cannot be loaded on this machine: libEGL or libGLESv2 is missing. Whoever runs it installs the packages "
    "libegl1 and libgles2 (apt-get install libegl1 libgles2)."
)


class Runtime(Protocol):
    """``name`` is the one of the runtime, ``classes`` are in the order of the probabilities.

    ``noisy``: the times of the last ``probabilities`` were far apart, as on a machine that does other work.
    """

    name: str
    classes: tuple[str, ...]
    size: int
    noisy: bool

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        """float32 [n, classes], and the median milliseconds of a picture, decoding not counted.

        ``some`` are paths of pictures, or uint8 [height, width, 3] RGB of any size. Raises InvalidFile for a path that is
        no picture.
        """
        ...


def decoded(picture: Picture) -> np.ndarray:
    return pictures.load(picture) if isinstance(picture, Path) else picture


class _SinglePicture:
    """A runtime whose ``call`` takes one picture, uint8 [size, size, 3], to float32 [classes]."""

    def __init__(self, name: str, classes: tuple[str, ...], size: int, call: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name, self.classes, self.size, self._call = name, classes, size, call
        self.noisy = False

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        rows, times = np.zeros((len(some), len(self.classes)), np.float32), []
        for at, picture in enumerate(some):
            pixels = self._preprocess(decoded(picture))
            began = time.perf_counter()
            rows[at] = self._call(pixels)
            times.append(time.perf_counter() - began)
        self.noisy = noisy(np.array(times))
        return rows, round(1000 * float(np.median(times)), 3) if times else 0.0

    def _preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return pictures.resize(pixels, self.size)


class _MediaPipe(_SinglePicture):
    """MediaPipe squashes a picture itself, as it does on a phone."""

    def _preprocess(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels)


class _TrainedNetwork:
    """The run's own network, in batches."""

    def __init__(self, name: str, classes: tuple[str, ...], size: int, classifier: Any) -> None:
        self.name, self.classes, self.size, self._classifier = name, classes, size, classifier
        self.noisy = False  # one time for all of a batch

    def probabilities(self, some: Sequence[Picture]) -> tuple[np.ndarray, float]:
        if not some:
            return np.zeros((0, len(self.classes)), np.float32), 0.0
        pixels = np.stack([pictures.resize(decoded(one), self.size) for one in some])
        began = time.perf_counter()
        found = self._classifier.probabilities(pixels)
        return found, round(1000 * (time.perf_counter() - began) / len(some), 3)


@contextmanager
def open_runtime(
    name: str, run: Run, file: Path | None = None, threads: int = 0, backbones: tuple[str, ...] = ()
) -> Iterator[Runtime]:
    """``file`` is the run's .onnx or .tflite; "pytorch" needs none and means the framework that trained the run.

    Raises InvalidValue for another name, InvalidFile where a runtime refuses the file, JobFailed where MediaPipe cannot be
    loaded.
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
        raise InvalidFile("onnxruntime refuses the file.") from error
    given = session.get_inputs()[0]
    _check_shapes("onnxruntime", given.shape[1:], session.get_outputs()[0].shape[1:], size, classes)
    yield _SinglePicture(
        "onnxruntime", classes, size, lambda x: session.run(None, {given.name: x[None].astype(np.float32)})[0][0]
    )


@contextmanager
def litert(file: Path, classes: tuple[str, ...], size: int, threads: int) -> Iterator[Runtime]:
    from ai_edge_litert.interpreter import Interpreter

    from lib.tflite import file as tflite_file

    tflite_file.read(file)  # verified before native code reads it
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InvalidFile("LiteRT refuses the file.") from error
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _check_shapes("LiteRT", list(given["shape"][1:]), list(made["shape"][1:]), size, classes)
    if given["dtype"] != np.float32 or made["dtype"] != np.float32:
        raise InvalidFile("The file's ends are not float32; MediaPipe would refuse it.")

    def call(pixels: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], pixels[None].astype(np.float32))
        interpreter.invoke()
        return np.array(interpreter.get_tensor(made["index"])[0])

    yield _SinglePicture("litert", classes, size, call)


@contextmanager
def mediapipe(file: Path, classes: tuple[str, ...], size: int, threads: int) -> Iterator[Runtime]:
    """As a phone runs it: the labels and the normalization are those of the file's metadata, the threads its own."""
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
        raise InvalidFile(f"{_REFUSED} In its words: {clean(str(error))[:300]}") from error
    columns = {name: at for at, name in enumerate(classes)}

    def call(pixels: np.ndarray) -> np.ndarray:
        row = np.full(len(classes), np.nan, np.float32)
        for found in classifier.classify(mp.Image(mp.ImageFormat.SRGB, pixels)).classifications[0].categories:
            if found.category_name not in columns:
                raise InvalidFile(f"MediaPipe names a class {str(found.category_name)[:60]!r} that the run does not have.")
            row[columns[found.category_name]] = found.score
        return row

    with classifier:
        yield _MediaPipe("mediapipe", classes, size, call)


_REFUSED = "MediaPipe refuses the file."
_BY_NAME = {"onnxruntime": onnxruntime, "litert": litert, "mediapipe": mediapipe}


def _missing(error: Exception) -> bool:
    return any(name in str(error) for name in ("libEGL", "libGLES"))


def _check_shapes(who: str, taken: list[Any], given: list[Any], size: int, classes: tuple[str, ...]) -> None:
    """Raises InvalidFile for a file that takes or gives something else."""
    if [int(n) if not isinstance(n, str) else n for n in taken] != [size, size, 3]:
        raise InvalidFile(f"{who}: the file takes {list(taken)} and should take [{size}, {size}, 3].")
    if list(given) != [len(classes)]:
        raise InvalidFile(f"{who}: the file gives {list(given)} and the run has {len(classes)} classes.")
