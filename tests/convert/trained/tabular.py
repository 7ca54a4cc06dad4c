"""Tables: scikit-learn's pipelines and forests, XGBoost and LightGBM, on scikit-learn's data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.convert.trained.subject import EVERY, TREES, Subject, write


def _split(loader: str) -> tuple[Any, ...]:
    """Trained on, given by the user, kept for the check: rows and truth of each."""
    from sklearn import datasets

    x, y = getattr(datasets, loader)(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    half, part = len(x) // 2, len(x) // 8
    return x[:half], y[:half], x[half : half + part], y[half : half + part], x[half + part :], y[half + part :]


def _sklearn(model: Any, width: int, path: Path, plain: bool = False, **options: Any) -> None:
    """``plain``: a scaler and a linear model in ONNX's ordinary operators, which float16 and int8 know."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    types, without = [("row", FloatTensorType([None, width]))], {"Scaler", "LinearClassifier"} if plain else None
    opsets = {"": 17, "ai.onnx.ml": 3}
    made = to_onnx(model, initial_types=types, options=options, target_opset=opsets, black_op=without)
    path.write_bytes(made.SerializeToString())


def _save(
    folder: Path, name: str, kind: str, inputs: str, split: tuple[Any, ...], made: list[np.ndarray],
    measure: str, targets: tuple[str, ...],
) -> Subject:  # fmt: skip
    _, _, given, given_y, kept, kept_y = split
    labelled = measure == "label"
    samples = {"row": given, "labels": given_y.astype(np.int64) if labelled else None}
    write(folder, samples, {"row": kept[:, None], "labels": kept_y if labelled else None}, [m[:, None] for m in made])
    files = (f"{name}.onnx",)
    return Subject(name=name, kind=kind, inputs=inputs, measure=measure, files=files, targets=targets, folder=folder)


def logistic(folder: Path) -> Subject:
    """A scaler before it: the areas of cells go to 4,254, most columns stay below 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    split = _split("load_breast_cancer")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(*split[:2])
    _sklearn(model, 30, folder / "sklearn-logistic.onnx", plain=True, zipmap=False)
    made = [model.predict(split[4]), model.predict_proba(split[4]).astype(np.float32)]
    about = ("table, linear", "scikit-learn's breast cancer data")
    return _save(folder, "sklearn-logistic", *about, split, made, "label", EVERY)


def forest(folder: Path) -> Subject:
    from sklearn.ensemble import RandomForestClassifier

    split = _split("load_digits")
    model = RandomForestClassifier(60, random_state=0).fit(*split[:2])
    _sklearn(model, 64, folder / "sklearn-forest.onnx", zipmap=False)
    made = [model.predict(split[4]), model.predict_proba(split[4]).astype(np.float32)]
    about = ("table, trees", "scikit-learn's digits as rows")
    return _save(folder, "sklearn-forest", *about, split, made, "label", TREES)


def regression(folder: Path) -> Subject:
    """A network for a number: how far diabetes will have gone after a year."""
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    split = _split("load_diabetes")
    network = MLPRegressor(hidden_layer_sizes=(64, 32), random_state=0, max_iter=800, alpha=1.0, early_stopping=True)
    model = make_pipeline(StandardScaler(), network).fit(split[0], split[1])
    _sklearn(model, 10, folder / "sklearn-regression.onnx")
    made = [model.predict(split[4]).astype(np.float32)[:, None]]
    about = ("table, regression", "scikit-learn's diabetes data")
    return _save(folder, "sklearn-regression", *about, split, made, "explained", EVERY)


def xgboost(folder: Path) -> Subject:
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType
    from xgboost import XGBClassifier

    split = _split("load_digits")
    model = XGBClassifier(n_estimators=30, max_depth=4, n_jobs=2, random_state=0).fit(*split[:2])
    made = onnxmltools.convert_xgboost(model, initial_types=[("row", FloatTensorType([None, 64]))], target_opset=15)
    (folder / "xgboost.onnx").write_bytes(made.SerializeToString())
    expected = [model.predict(split[4]), model.predict_proba(split[4])]
    about = ("table, trees", "scikit-learn's digits as rows")
    return _save(folder, "xgboost", *about, split, expected, "label", TREES)


def lightgbm(folder: Path) -> Subject:
    import onnxmltools
    from lightgbm import LGBMClassifier
    from onnxmltools.convert.common.data_types import FloatTensorType

    split = _split("load_breast_cancer")
    model = LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=2, random_state=0, verbose=-1).fit(*split[:2])
    types = [("row", FloatTensorType([None, 30]))]
    made = onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=15, zipmap=False)
    (folder / "lightgbm.onnx").write_bytes(made.SerializeToString())
    expected = [model.predict(split[4]), model.predict_proba(split[4]).astype(np.float32)]
    about = ("table, trees", "scikit-learn's breast cancer data")
    return _save(folder, "lightgbm", *about, split, expected, "label", TREES)
