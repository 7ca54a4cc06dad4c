"""Magika: what a file is, by its bytes; on the files of a Python installation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.convert.trained import texts
from tests.convert.trained.subject import ONNX, Subject, write

# extension: Magika's own label
KNOWN = {
    **{"py": "python", "h": "c", "hpp": "cpp", "json": "json", "js": "javascript", "css": "css", "html": "html"},
    **{"png": "png", "svg": "svg", "so": "elf", "pyc": "pythonbytecode", "md": "markdown", "toml": "toml", "npy": "npy"},
    **{"yaml": "yaml", "csv": "csv", "txt": "txt", "npz": "zip", "gz": "gzip", "ttf": "ttf", "jpg": "jpeg", "wav": "wav"},
}
EDGE, BLOCK, PAD = 1024, 4096, 256


def features(content: bytes) -> np.ndarray:
    """int32 [2048]: the first and the last kilobyte without blanks at the ends, as Magika's documentation says."""
    first, last = content[:BLOCK].lstrip()[:EDGE], content[-BLOCK:].rstrip()[-EDGE:]
    out = np.full(2 * EDGE, PAD, np.int32)
    out[: len(first)] = np.frombuffer(first, np.uint8)
    out[2 * EDGE - len(last) :] = np.frombuffer(last, np.uint8)
    return out


def magika(folder: Path) -> Subject:
    import json

    import magika as package
    import onnxruntime

    home = Path(package.__file__).parent / "models" / "standard_v3_3"
    names = json.loads((home / "config.min.json").read_text())["target_labels_space"]
    path = folder / "magika.onnx"
    path.write_bytes((home / "model.onnx").read_bytes())
    rows, labels = [], []
    for extension, label in KNOWN.items():
        for file in texts.files((f"*.{extension}",), 22):
            rows.append(features(file.read_bytes()))
            labels.append(names.index(label))
    order = np.random.default_rng(0).permutation(len(rows))
    given, kept = order[:64], order[64:264]
    every, truth = np.stack(rows), np.array(labels)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    made = [session.run(None, {"bytes": every[k : k + 1]})[0] for k in kept]
    held = {"bytes": every[kept][:, None], "labels": truth[kept]}
    write(folder, {"bytes": every[given], "labels": truth[given]}, held, [np.stack(made)])
    return Subject(
        name="magika",
        kind="content type of files",
        inputs="the files of a Python installation",
        measure="top_class",
        files=(path.name,),
        targets=(*ONNX, "openvino", "pt2"),
        folder=folder,
    )
