"""The trained models by name; each is made in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.convert.trained.subject import Subject, load


def _pictures() -> dict[str, Callable[[Path], Subject]]:
    from tests.convert.trained import digits, pictures

    return {
        "efficientnet-lite0": pictures.efficientnet,
        "autoencoder": pictures.autoencoder,
        "segmentation": pictures.segmentation,
        "keras-cnn": digits.keras_cnn,
        "torch-cnn": digits.cnn,
        "torch-lstm": digits.lstm,
        "torch-vit": digits.vit,
        "faces": digits.faces,
    }


def _others() -> dict[str, Callable[[Path], Subject]]:
    from tests.convert.trained import contents, faces, language, speech, tabular

    return {
        "face-detection": faces.detector,
        "face-landmarks": faces.landmarks,
        "magika": contents.magika,
        "silero-vad-16k": speech.silero,
        "silero-vad": speech.silero_branches,
        "minilm": language.minilm,
        "bert": language.bert,
        "gpt2": language.gpt2,
        "sklearn-logistic": tabular.logistic,
        "sklearn-forest": tabular.forest,
        "sklearn-regression": tabular.regression,
        "xgboost": tabular.xgboost,
        "lightgbm": tabular.lightgbm,
    }


def makers() -> dict[str, Callable[[Path], Subject]]:
    """Frameworks are imported when a model is made, not before."""
    return _pictures() | _others()


def make(name: str, folder: Path) -> Subject:
    """Makes it, or takes what was made in ``folder`` before."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "subject.json").is_file():
        return load(folder)
    made = makers()[name](folder)
    assert made.name == name, (made.name, name)
    return made.save()


if __name__ == "__main__":  # python -m tests.convert.trained.corpus FOLDER [NAME ...]
    import sys

    for one in sys.argv[2:] or makers():
        begun = time.perf_counter()
        print(one, make(one, Path(sys.argv[1]) / one).files, f"{time.perf_counter() - begun:.1f} s", flush=True)
