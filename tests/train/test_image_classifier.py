"""Model Maker's words: the usual example with its import line changed, and what differs said clearly."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.settings import Settings
from lib.tflite import metadata
from lib.train import datasets, image_classifier, quantization
from lib.train.__main__ import main
from lib.train.data import DataSet
from lib.train.edge.save import save
from lib.train.image_classifier import Dataset, HParams, ImageClassifierOptions, ModelOptions, SupportedModels
from lib.train.runs import Run
from tests.train.conftest import shapes

pytestmark = pytest.mark.timeout(1800)
ROOT = Path(__file__).parent.parent.parent
SMALL = ModelOptions(image_size=48)
# as a user has it: no function, no guard of __main__
EXAMPLE = """
from lib.train import image_classifier

data = image_classifier.Dataset.from_folder({folder!r})
train_data, remaining_data = data.split(0.8)
test_data, validation_data = remaining_data.split(0.5)

spec = image_classifier.SupportedModels.EFFICIENTNET_LITE0
hparams = image_classifier.HParams(epochs=15, export_dir="exported_model")
options = image_classifier.ImageClassifierOptions(supported_model=spec, hparams=hparams)
options.model_options = image_classifier.ModelOptions(image_size=96)

model = image_classifier.ImageClassifier.create(
    train_data=train_data,
    validation_data=validation_data,
    options=options,
)
loss, acc = model.evaluate(test_data)
print(f"Test loss:{{loss}}, Test accuracy:{{acc}}")
model.export_model()
model.export_labels("exported_model")
"""


@pytest.fixture(scope="module")
def kept(request: pytest.FixtureRequest) -> str:
    """The converter's environments are kept from one session to the next."""
    return os.environ.get("DATA_FOLDER") or str(request.config.cache.mkdir("workbench"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("shapes"), 20)


@pytest.fixture(scope="module")
def parts(folder: Path) -> tuple[Dataset, Dataset]:
    return Dataset.from_folder(folder).split(0.7)


@pytest.fixture(scope="module")
def model(
    parts: tuple[Dataset, Dataset], kept: str, tmp_path_factory: pytest.TempPathFactory
) -> image_classifier.ImageClassifier:
    hparams = HParams(epochs=6, batch_size=8, export_dir=tmp_path_factory.mktemp("exported"))
    options = ImageClassifierOptions(SupportedModels.EFFICIENTNET_LITE0, SMALL, hparams)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_FOLDER", kept)
        return image_classifier.ImageClassifier.create(parts[0], parts[1], options)


@pytest.mark.slow
def test_the_usual_example_classifies_five_pictures(tmp_path: Path, kept: str) -> None:
    import mediapipe as mp
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    made = datasets.make("objects", tmp_path / "objects")
    script = tmp_path / "example.py"
    script.write_text(EXAMPLE.format(folder=str(made.folder / "train")))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DATA_FOLDER": kept, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Test loss:") == 1 and "runs in MediaPipe" in done.stdout
    assert float(done.stdout.partition("Test accuracy:")[2].split()[0]) > 0.7

    labels = (tmp_path / "exported_model" / "labels.txt").read_text().splitlines()
    assert labels == made.classes
    base_options = python.BaseOptions(model_asset_path=str(tmp_path / "exported_model" / "model.tflite"))
    options = vision.ImageClassifierOptions(base_options=base_options, max_results=4)
    right = 0
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for name in labels[:5]:
            picture = mp.Image.create_from_file(str(made.folder / "train" / name / "0003.jpg"))
            top = classifier.classify(picture).classifications[0].categories[0]
            assert labels[top.index] == top.category_name and 0 < top.score <= 1
            right += top.category_name == name
    assert right >= 4


def test_split_draws_by_class_and_leaves_nothing_out(folder: Path) -> None:
    data = Dataset.from_folder(str(folder))
    assert len(data) == data.size == 60 and data.label_names == ["cross", "disc", "stripes"] and data.num_classes == 3
    first, rest = data.split(0.9)
    assert np.bincount(first.labels).tolist() == [18, 18, 18] and np.bincount(rest.labels).tolist() == [2, 2, 2]
    assert sorted(first.paths + rest.paths) == sorted(data.paths)
    one, other = rest.split(0.5)
    assert len(one) == len(other) == 3 and sorted(one.paths + other.paths) == sorted(rest.paths)
    assert [p.paths for p in data.split(0.9)] == [first.paths, rest.paths]
    with pytest.raises(InvalidValue, match="too few pictures"):
        one.split(0.5)
    for fraction in (0, 1, 1.5, "half", True):
        with pytest.raises(InvalidValue, match="above 0 and below 1"):
            data.split(fraction)


def test_pictures_of_two_folders_are_trained_and_validated_as_they_are_given(tmp_path: Path, folder: Path) -> None:
    other = Dataset.from_folder(shapes(tmp_path, 4, seed=1))
    data = Dataset.from_folder(folder)
    found = image_classifier.dataset.combined(data, other, tmp_path / "home")
    split = found.split(0.1)
    assert [found.path(k) for k in split.val] == sorted(other.paths) and len(split.train) == 60
    found.save()
    again = DataSet.load(found.home)
    assert again.fingerprint == found.fingerprint and again.split(0.5) == split
    with pytest.raises(InvalidFile, match="60 pictures are in both"):
        image_classifier.dataset.combined(data, data, tmp_path / "home")
    (tmp_path / "pictures" / "disc").rename(tmp_path / "pictures" / "ring")
    with pytest.raises(InvalidFile, match="cross, disc, stripes; cross, ring, stripes"):
        image_classifier.dataset.combined(data, Dataset.from_folder(tmp_path / "pictures"), tmp_path / "home")


def test_the_same_pictures_in_other_parts_are_another_data_set(folder: Path, tmp_path: Path) -> None:
    data = Dataset.from_folder(folder)
    homes = {image_classifier.dataset.combined(*data.split(share), tmp_path).home for share in (0.8, 0.9, 0.8)}
    assert len(homes) == 2


def test_evaluate_is_what_the_training_measured(model: image_classifier.ImageClassifier, parts: tuple) -> None:
    record = model.run.read()
    best = record["epochs"][record["result"]["epoch"] - 1]
    for batch_size in (5, 32):
        loss, accuracy = model.evaluate(parts[1], batch_size)
        assert loss == pytest.approx(best["validation_loss"], abs=1e-4)
        assert accuracy == pytest.approx(best["validation_accuracy"])
    assert record["recipe"]["technique"] == "feature_extraction" and record["result"]["count"] == len(parts[1]) == 18


def test_evaluate_refuses_other_classes(model: image_classifier.ImageClassifier, parts: tuple, tmp_path: Path) -> None:
    shapes(tmp_path, 2)
    (tmp_path / "pictures" / "disc").rename(tmp_path / "pictures" / "ring")
    with pytest.raises(InvalidFile, match="differ from those of the training"):
        model.evaluate(Dataset.from_folder(tmp_path / "pictures"))
    with pytest.raises(InvalidValue, match="batch_size"):
        model.evaluate(parts[1], 0)


@pytest.mark.slow
def test_onnx_labels_and_summary(model: image_classifier.ImageClassifier, capsys: pytest.CaptureFixture) -> None:
    path = model.export_model("model.onnx")
    notes = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert notes["labels"] == '["cross", "disc", "stripes"]' and notes["run"] == model.run.id
    assert model.rows["model.onnx"].same_label == 1 and "ONNX, " in capsys.readouterr().out
    assert model.export_labels(path.parent / "more", "names.txt").read_text() == "cross\ndisc\nstripes"
    model.summary()
    said = capsys.readouterr().out
    assert "efficientnet_lite0: 3.4 M parameters" in said and "48 x 48 x 3" in said and "cross, disc, stripes" in said


@pytest.mark.slow
def test_the_command_line_exports_such_a_run(
    model: image_classifier.ImageClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("DATA_FOLDER", kept)
    words = ["--runs", str(model.run.folder.parent), "--run", model.run.id, "--export", str(tmp_path / "mine.onnx")]
    assert main(words) == 0
    assert (tmp_path / "mine.onnx").read_bytes() == model.export_model("model.onnx").read_bytes()


@pytest.mark.slow
def test_a_withheld_file_says_why_and_leaves_nothing(
    model: image_classifier.ImageClassifier, kept: str, tmp_path: Path
) -> None:
    """A converter that has a second gives up."""
    (tmp_path / "model.tflite").write_text("what was here before")
    hurried = Settings(data_folder=Path(kept), convert_seconds=1)
    with pytest.raises(JobFailed, match=r"TensorFlow Lite, float32 is withheld\. It cannot be converted"):
        save(Run(model.run.folder), model._data, tmp_path / "model.tflite", settings=hurried)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["what was here before"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [quantization.QuantizationConfig.for_float16(), quantization.QuantizationConfig.for_int8()]
)
def test_quantized_files_hold_labels(
    model: image_classifier.ImageClassifier, config: quantization.QuantizationConfig
) -> None:
    path = model.export_model("small.tflite", config)
    found = metadata.read(path)
    assert found is not None and list(found.labels) == model.label_names
    assert model.rows["small.tflite"].target == config.target and path.stat().st_size < 8e6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: HParams(epoch=3), "HParams was 'epoch'; allowed: learning_rate, batch_size, epochs"),
        (lambda: HParams(label_smoothing=0.1), "HParams: label_smoothing was 0.1; allowed: 0.0, or omit it"),
        (lambda: HParams(shuffle=False), "HParams: shuffle was False; allowed: True, or omit it"),
        (lambda: HParams(multi_labels=True), "HParams: multi_labels was True; allowed: False"),
        (lambda: ModelOptions(alpha=0.75), "ModelOptions: alpha was 0.75; allowed: 1.0"),
        (lambda: ModelOptions(width=2), "ModelOptions was 'width'; allowed: image_size"),
        (lambda: ImageClassifierOptions("lite0").recipe(), "allowed: SupportedModels.EFFICIENTNET_LITE0"),
        (lambda: options(do_data_augmentation=True), "allowed: False, unless do_fine_tuning=True"),
        (lambda: options(epochs=-1), "epochs was -1"),
        (lambda: options(learning_rate=20), "learning_rate was 20"),
        (lambda: quantization.QuantizationConfig.for_dynamic(), r"allowed: for_int8\(\) or for_float16\(\)"),
        (lambda: quantization.QuantizationConfig.for_int8(None, quantization_steps=5), "quantization_steps=5"),
    ],
)
def test_what_would_not_be_followed_is_refused(wrong, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        wrong()


def options(**hparams: object) -> object:
    return ImageClassifierOptions(SupportedModels.EFFICIENTNET_LITE0, SMALL, HParams(**hparams)).recipe()  # type: ignore[arg-type]


def test_values_that_change_nothing_are_taken() -> None:
    assert HParams(label_smoothing=0, multi_labels=False, num_gpus=-1, shuffle=True).epochs == 0
    with pytest.warns(UserWarning, match="dropout_rate is ignored"):
        ModelOptions(dropout_rate=0.07)
    tuned = ImageClassifierOptions(SupportedModels.MOBILENET_V2, None, HParams(do_fine_tuning=True)).recipe()
    assert (tuned.technique, tuned.epochs, tuned.image_size) == ("fine_tuning", 3, 224)
    assert all(replace(tuned, backbone=one.value.name, image_size=one.value.image_size) for one in SupportedModels)


def test_wrong_names_of_files(model: image_classifier.ImageClassifier) -> None:
    with pytest.raises(InvalidValue, match=r"'model\.h5'; allowed: a name that ends in \.tflite or \.onnx"):
        model.export_model("model.h5")
    with pytest.raises(InvalidValue, match="target was 'tflite-int8'; allowed: onnx for a file"):
        model.export_model("model.onnx", quantization.QuantizationConfig.for_int8())
    with pytest.raises(InvalidValue, match="quantization_config was 'int8'"):
        model.export_model(quantization_config="int8")  # type: ignore[arg-type]
