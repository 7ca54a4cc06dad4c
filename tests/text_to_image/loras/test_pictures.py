"""Pictures with LoRAs: rows of a batch that differ in them, and what diffusers' own pipelines make."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib.errors import InvalidValue
from lib.settings import Settings
from lib.text_to_image import png
from lib.text_to_image.group import describe
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from lib.text_to_image.request import Request
from lib.text_to_image.schedulers import make_scheduler
from lib.text_to_image.solo import SoloBatch
from tests.text_to_image.loras.conftest import NAMES
from tests.text_to_image.test_batch import alone, furthest, mixed, together

CHOICES = ("", "ink", "ink:0.5, neon:0.8", "neon:1.5", "ink:0")


def requests(model: Model, count: int, seed: int) -> list[Request]:
    schedulers = model.family.schedulers if model.family else ()
    size = 64 if model.name == "flux" else 0
    return [
        replace(
            r,
            loras=CHOICES[k % 5],
            steps=min(r.steps, 6),
            scheduler=schedulers[k % len(schedulers)],
            width=size,
            height=size,
        )
        for k, r in enumerate(mixed(count, seed=seed))
    ]


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, int) - np.asarray(b, int)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_rows_with_different_loras_share_a_batch(knowing: Any, name: str) -> None:
    _, model = knowing(name)
    asked = requests(model, 9, seed=11)
    for request, picture in zip(asked, together(model, asked), strict=True):
        assert furthest(picture, alone(model, request)) <= 1, request


@pytest.mark.slow
def test_reproducible_mode_is_exact_to_the_bit(knowing: Any) -> None:
    _, model = knowing("tiny-scenes")
    asked = requests(model, 9, seed=12)
    for request, picture in zip(asked, together(model, asked, bucket=6), strict=True):
        assert picture.tobytes() == alone(model, request, bucket=6).tobytes(), request


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
def test_a_picture_is_what_diffusers_makes(knowing: Any, folders: dict[str, Path], name: str) -> None:
    settings, model = knowing(name)
    own = {"sd": "DDIM", "sdxl": "Euler", "sd3": "Euler"}[name]
    values: dict[str, Any] = {
        "prompt": "a red car on a track",
        "steps": 4,
        "guidance_scale": 5.0,
        "seed": 5,
        "scheduler": own,
    }
    request = model.resolve(Request(**values, loras="ink:0.7, neon:1.2"))
    files = {name: source.file() for name, source in model.adapters._catalogue.sources.items()}
    pipeline = load(Source(name=name, folder=folders[name]), settings).pipeline
    for lora, file in files.items():
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=lora)
    pipeline.set_adapters(["ink", "neon"], [0.7, 1.2])
    if name != "sd3":
        pipeline.scheduler = make_scheduler(own, pipeline.scheduler)
    plain = pipeline(
        request.prompt,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(5),
        width=request.width,
        height=request.height,
    ).images[0]
    found = alone(model, request)
    assert furthest(plain, found) <= 1
    assert difference(found, alone(model, replace(request, loras=()))) > 2


def test_weight_nothing_is_none_at_all(knowing: Any) -> None:
    _, model = knowing("sd")
    request = Request(prompt="a car", steps=3, seed=2, loras="ink:0")
    assert alone(model, request).tobytes() == alone(model, replace(request, loras=())).tobytes()


def test_a_picture_can_be_made_again_from_its_own_file(knowing: Any) -> None:
    _, model = knowing("sd")
    request = model.resolve(Request(prompt="a (red:1.2) car <lora:ink:0.8>", steps=3, seed=2, loras="neon"))
    image, info = alone(model, request), describe(model, request, 0.1)
    data = png.encode(image, info)
    assert info["lora_hashes"].keys() == {"ink", "neon"} and info["loras"] == [["neon", 1.0], ["ink", 0.8]]
    assert png.read_info(data) == info and png.read_request(data) == request
    text = Image.open(io.BytesIO(data)).info["parameters"]
    assert text.startswith("a (red:1.2) car <lora:neon:1> <lora:ink:0.8>\nSteps: 3,")
    assert f'Lora hashes: "neon: {info["lora_hashes"]["neon"]}, ink: {info["lora_hashes"]["ink"]}"' in text
    again = Request.parse(png.parse_parameters(text) | {"model": "sd"})
    assert again == request
    assert alone(model, again).tobytes() == image.tobytes()


def test_one_for_another_kind_of_model(knowing: Any, folders: dict[str, Path]) -> None:
    settings, _ = knowing("sdxl")
    model = load(Source(name="sd", folder=folders["sd"]), settings)
    with pytest.raises(InvalidValue, match="loras was 'ink'; allowed: one for this kind of model"):
        alone(model, Request(prompt="a", steps=2, loras="ink"))


def test_a_pipeline_of_its_own(knowing: Any, folders: dict[str, Path]) -> None:
    """Flux one request at a time, as families without rows are; and a kind that takes no LoRA."""
    settings, model = knowing("flux")

    def draw(request: Request) -> Image.Image:
        batch = SoloBatch(model)
        row = batch.join(request)
        while not batch.step():
            pass
        assert row.error is None, row.error
        return batch.decode([row])[0]

    request = model.resolve(
        Request(prompt="a", steps=3, seed=3, width=64, height=64, loras="ink, neon:0.4", scheduler="Euler")
    )
    assert furthest(draw(request), alone(model, request)) <= 1
    assert difference(draw(request), draw(replace(request, loras=()))) > 1
    other = load(Source(name="pixart", folder=folders["pixart"]), settings)
    with pytest.raises(InvalidValue, match="none: this kind of model does not support LoRAs"):
        SoloBatch(other).join(other.resolve(Request(prompt="a", loras="ink")))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(knowing: Any, folders: dict[str, Path], dtype: str) -> None:
    settings, _ = knowing("sd")
    model = load(Source(name="sd", folder=folders["sd"]), replace(settings, dtype=dtype))
    picture = alone(model, Request(prompt="a (red:1.3) car", steps=3, seed=1, loras="ink"))
    assert len(set(picture.tobytes())) > 8


def test_many_are_kept_and_the_oldest_leave(settings: Settings, folders: dict[str, Path], knowing: Any) -> None:
    own, _ = knowing("sd")
    path = own.loras[0].partition("=")[2]
    model = load(Source(name="sd", folder=folders["sd"]), replace(settings, loras=tuple(f"n{k}={path}" for k in range(18))))
    for k in range(18):
        model.adapters.get(f"n{k}")
    model.adapters.get("n17")
    assert [model.adapters.missing(((f"n{k}", 1.0),)) for k in (0, 1, 2, 17)] == ["n0", "n1", "", ""]
