"""The embedded model: its scenes, its recipe on a few steps, and the weights that are shipped."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from lib.settings import EMBEDDED_FOLDER
from lib.text_to_image.models import Model
from models.tiny_scenes import evaluate, export, store, train
from models.tiny_scenes.classifier import Classifier
from models.tiny_scenes.latents import LatentSpace, pixels
from models.tiny_scenes.renderer import render, render_with_mask
from models.tiny_scenes.scenes import COLOURS, OBJECTS, PLACES, SIZES, Scene, all_scenes, caption, reworded, vocabulary
from models.tiny_scenes.tokenizer import build_tokenizer, learn_tokenizer


def test_the_scenes() -> None:
    scenes = all_scenes()
    assert len(OBJECTS) >= 12 and len(COLOURS) >= 10 and len(PLACES) >= 10 and len(SIZES) == 3
    assert len(set(scenes)) == len(scenes) == 3600
    held = {(s.object, s.colour, s.place) for s in scenes if s.held_out}
    assert 0.07 < len(held) / 1200 < 0.13
    # the split is by combination, never by size, and leaves every word in training
    assert all(s.held_out == ((s.object, s.colour, s.place) in held) for s in scenes)
    seen = [s for s in scenes if not s.held_out]
    assert {s.object for s in seen} == set(OBJECTS) and {s.place for s in seen} == set(PLACES)


def test_the_renderer_is_deterministic_and_every_scene_differs() -> None:
    scene = Scene(object="car", colour="red", place="track", size="large")
    first, second = (render(scene, random.Random(3)).tobytes() for _ in range(2))
    assert first == second != render(scene, random.Random(4)).tobytes()
    pictures = {render(s, random.Random(0)).tobytes() for s in all_scenes()[::10]}
    assert len(pictures) == 360


def test_the_object_has_the_colour_that_was_asked_for() -> None:
    for colour in COLOURS:
        scene = Scene(object="balloon", colour=colour, place="snow", size="large")
        picture, mask = render_with_mask(scene, random.Random(1))
        from models.tiny_scenes.pen import RGB

        near = np.abs(np.asarray(picture, int) - RGB[colour]).sum(2) < 60
        where = np.asarray(mask.resize((128, 128), Image.Resampling.NEAREST)) > 4
        assert near[where].mean() > 0.15, colour


def test_every_caption_word_is_one_token() -> None:
    tokenizer = build_tokenizer()
    assert all(len(learn_tokenizer()(word).input_ids) == 3 for word in ("car", "butterfly", "underwater"))
    assert all(len(tokenizer(word).input_ids) == 3 for word in vocabulary())
    rng = random.Random(0)
    assert all(len(tokenizer(caption(rng.choice(all_scenes()), rng)).input_ids) <= 32 for _ in range(500))
    assert len(tokenizer("ünknown 猫 words").input_ids) > 5  # anything has tokens


def test_the_shipped_tokenizer_is_the_recipes() -> None:
    from transformers import CLIPTokenizer

    shipped = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    assert shipped.get_vocab() == build_tokenizer().get_vocab()


def test_the_shipped_weights() -> None:
    files = [f for f in EMBEDDED_FOLDER.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 16e6
    assert {f.suffix for f in files} <= {".safetensors", ".json", ".txt"}
    index = json.loads((EMBEDDED_FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    from safetensors import safe_open

    for file in EMBEDDED_FOLDER.rglob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            assert {tensors.get_tensor(k).dtype for k in tensors.keys()} == {torch.float16}  # noqa: SIM118


def test_the_shipped_autoencoder_keeps_pictures(embedded: Model) -> None:
    scenes = all_scenes()[::180]
    x = pixels(scenes, list(range(len(scenes))))
    vae = embedded.pipeline.vae
    with torch.inference_mode():
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample
    assert (y - x).abs().mean() < 0.06


def test_latents_are_scaled(tmp_path: Path) -> None:
    space = LatentSpace.fit(pictures=200)
    z = space.encode(pixels(all_scenes()[::60], list(range(60))))
    assert z.shape == (60, 8, 16, 16) and 0.7 < z.square().mean() < 1.4
    space.save(tmp_path / "l.safetensors")
    assert torch.equal(LatentSpace.load(tmp_path / "l.safetensors").weight, space.weight)


@pytest.mark.slow
def test_the_shipped_latent_space_is_the_recipes() -> None:
    shipped, again = LatentSpace.load(), LatentSpace.fit()
    x = pixels(all_scenes()[::200], list(range(18)))
    assert (shipped.encode(x) - again.encode(x)).abs().max() < 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recipe_runs_resumes_exports_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def run(main, *words: str) -> str:  # type: ignore[no-untyped-def]
        monkeypatch.setattr("sys.argv", ["x", *words])
        main()
        return capsys.readouterr().out

    few = ("--run", str(tmp_path), "--batch", "2", "--pictures", "64", "--text-steps", "3")
    for part in ("decoder", "encoder", "denoiser"):
        run(train.main, part, *few, "--steps", "2")
        assert (tmp_path / f"{part}.safetensors").exists()
    own = ("--denoiser", str(tmp_path / "denoiser.safetensors"), "--critic-from", "1")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "store.safetensors").symlink_to(tmp_path / "store.safetensors")
    start = ("--start", str(tmp_path / "decoder.safetensors"), "--run", str(tmp_path / "second"))
    run(train.main, "decoder", *few, *own, *start, "--steps", "3")
    first, second = (load_file(folder / "decoder.safetensors") for folder in (tmp_path, tmp_path / "second"))
    assert not torch.equal(first["decoder.conv_out.weight"], second["decoder.conv_out.weight"])
    before = torch.load(tmp_path / "denoiser.state.pt", weights_only=True)
    run(train.main, "denoiser", *few, "--steps", "4")
    after = torch.load(tmp_path / "denoiser.state.pt", weights_only=True)
    assert (before["step"], after["step"]) == (2, 4)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))
    run(export.main, "--run", str(tmp_path), "--to", str(tmp_path / "weights"))
    run(train.main, "denoiser", *few, "--run", str(tmp_path / "more"), "--steps", "1", "--start", str(tmp_path / "weights"))
    out = run(
        evaluate.main,
        "--weights",
        str(tmp_path / "weights"),
        "--classifier",
        str(tmp_path / "c.pt"),
        "--classifier-steps",
        "3",
        "--classifier-pictures",
        "64",
        "--pictures",
        "4",
        "--steps",
        "2",
    )
    assert "| generated, held out from training |" in out and "| held out, in other words |" in out


@pytest.mark.slow
def test_the_store_holds_what_was_drawn(tmp_path: Path) -> None:
    store.draw(tmp_path / "s", 30, seed=2)
    pictures, latents, captions, labels = store.read(
        tmp_path / "s", torch.device("cpu"), "pictures", "latents", "captions", "labels"
    )
    assert pictures.shape == (30, 3, 128, 128) and captions.shape == (30, store.CAPTIONS, 32)
    again = LatentSpace.load().encode(pictures.float() / 127.5 - 1)
    assert (again - latents.float()).abs().max() < 0.01
    tokenizer, words = build_tokenizer(), list(COLOURS)
    for row, (_, colour, _) in zip(captions, labels.tolist(), strict=True):
        texts = [tokenizer.decode(one, skip_special_tokens=True) for one in row.tolist()]
        assert sum(any(name in text for name in COLOURS[words[colour]]) for text in texts) >= 4, texts


def test_scenes_in_other_words_say_everything() -> None:
    rng = random.Random(0)
    for scene in all_scenes()[::40]:
        text = reworded(scene, rng)
        for table, name in ((OBJECTS, scene.object), (COLOURS, scene.colour), (PLACES, scene.place)):
            assert any(word in text for word in table[name]), text


def test_sharpness_and_distance_tell_blurred_pictures() -> None:
    scenes = all_scenes()[::60]
    x, other = pixels(scenes, list(range(len(scenes)))), pixels(scenes, list(range(1000, 1000 + len(scenes))))
    blurred = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4, mode="bilinear")
    assert evaluate.sharpness(blurred) < 0.5 * evaluate.sharpness(x)
    torch.manual_seed(0)
    judge = Classifier().eval()
    assert evaluate.kernel_distance(judge, blurred, other) > abs(evaluate.kernel_distance(judge, x, other))
