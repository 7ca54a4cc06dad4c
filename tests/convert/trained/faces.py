"""MediaPipe's TensorFlow Lite models on photographs: faces and their points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.convert.trained import photos, wheels
from tests.convert.trained.subject import Subject, write

TARGETS = ("tflite-fp16", "tflite-int8", "onnx", "onnx-fp16", "onnx-int8-dynamic", "onnx-int8-static", "openvino", "pt2")
ASTRONAUT, FACE = "skimage/data/astronaut.png", (224, 125, 90)  # middle and size in pixels


def around(count: int, size: int, seed: int, least: float, most: float) -> np.ndarray:
    """uint8 [count, size, size, 3]: the astronaut's face, ``least`` to ``most`` times its size around it, turned a bit."""
    rng = np.random.default_rng(seed)
    whole, (x, y, face) = photos.photo(ASTRONAUT), FACE
    out = []
    for _ in range(count):
        side = face * rng.uniform(least, most)
        left, top = x - side / 2 + rng.normal(0, 0.1 * face), y - side / 2 + rng.normal(0, 0.1 * face)
        turned = whole.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, center=(x, y))
        light = np.asarray(turned.transform((size, size), Image.Transform.EXTENT, (left, top, left + side, top + side)))
        out.append(np.clip(light * rng.uniform(0.6, 1.2), 0, 255).astype(np.uint8))
    return np.stack(out)


def _subject(
    folder: Path, name: str, kind: str, member: str, given: np.ndarray, kept: np.ndarray, measure: str,
    labels: np.ndarray | None = None,
) -> Subject:  # fmt: skip
    from ai_edge_litert.interpreter import Interpreter

    path = folder / f"{name}.tflite"
    path.write_bytes(wheels.read("mediapipe", f"mediapipe/modules/{member}"))
    interpreter = Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    about = interpreter.get_input_details()[0]
    rows = []
    for picture in kept:
        interpreter.set_tensor(about["index"], picture[None])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()])
    held = {about["name"]: kept[:, None]} | ({} if labels is None else {"labels": labels})
    write(folder, {about["name"]: given}, held, [np.stack(v) for v in zip(*rows, strict=True)])
    return Subject(
        name=name, kind=kind, inputs="photographs in scikit-image and Gradio", measure=measure, files=(path.name,),
        targets=TARGETS, folder=folder,
    )  # fmt: skip


def detector(folder: Path) -> Subject:
    """Half with a face, half without."""

    def mixed(count: int, seed: int, names: tuple[str, ...]) -> np.ndarray:
        without = photos.crops(names, count // 2, 128, seed)
        pictures = np.concatenate([around(count - count // 2, 128, seed, 1.6, 5), without])
        return (pictures.astype(np.float32) / 127.5 - 1)[np.random.default_rng(seed).permutation(count)]

    seen = tuple(n for n in photos.SEEN if n != ASTRONAUT)
    unseen = tuple(n for n in photos.UNSEEN if "camera" not in n and "bus" not in n and "groot" not in n)
    member = "face_detection/face_detection_short_range.tflite"
    given, kept = mixed(64, 0, seen), mixed(160, 1, unseen)
    labels = np.random.default_rng(1).permutation(160) < 80
    return _subject(folder, "face-detection", "face detection", member, given, kept, "faces", labels)


def landmarks(folder: Path) -> Subject:
    given, kept = (around(n, 192, seed, 1.5, 2.2).astype(np.float32) / 255 for n, seed in ((48, 0), (100, 1)))
    member = "face_landmark/face_landmark.tflite"
    return _subject(folder, "face-landmarks", "points of a face", member, given, kept, "landmarks")
