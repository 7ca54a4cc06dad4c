"""SAFETY_CHECKER=1 with a tiny random checker whose thresholds flag every picture, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from lib.settings import Settings
from lib.text_to_image.batch import Batch
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Step
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from lib.text_to_image.request import Request
from lib.text_to_image.safety import FLAGGED, blur
from lib.text_to_image.zero_gpu import PerCallEngine
from tests import tiny
from tests.text_to_image.test_batch import alone, furthest, mixed
from tests.text_to_image.test_engine import make

ASK = Request(prompt="a red car", steps=3, seed=1)
KINDS = ("sd", "solo")  # a family's model, and one that runs by itself


def checker(threshold: float) -> StableDiffusionSafetyChecker:
    """Cosines are from -1 to 1: with -1.1 every picture is above, with 1.1 none."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = size | {"image_size": 16, "patch_size": 8}
    found = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=size, projection_dim=8))
    found.concept_embeds.data.normal_()
    found.concept_embeds_weights.data.fill_(threshold)
    found.special_care_embeds_weights.data.fill_(1.1)
    return found


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Settings:
    """Models ``sd-flags``, ``sd-passes``, ``solo-flags`` and ``solo-passes``; and ``sdxl``, which ships no checker."""
    home = tmp_path_factory.mktemp("checked")
    extractor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    for word, threshold in (("flags", -1.1), ("passes", 1.1)):
        pipeline = tiny.stable_diffusion()
        pipeline.register_modules(safety_checker=checker(threshold), feature_extractor=extractor)
        pipeline.save_pretrained(home / f"sd-{word}")
        # by another name, which no family knows: diffusers' own pipeline then makes the whole picture
        pipeline.save_pretrained(home / f"solo-{word}")
        index = home / f"solo-{word}" / "model_index.json"
        index.write_text(index.read_text().replace('"StableDiffusionPipeline"', '"StableDiffusionPAGPipeline"'))
    models = tuple(f"{path.name}={path}" for path in sorted(home.iterdir()))
    sdxl = tuple(text for text in settings.models if text.startswith("sdxl="))
    return replace(settings, models=(*models, *sdxl), default_model="sd-flags", safety_checker=True)


def read(settings: Settings, name: str) -> Model:
    folder = next(text for text in settings.models if text.startswith(f"{name}=")).partition("=")[2]
    return load(Source(name=name, folder=Path(folder)), settings)


@pytest.fixture(scope="module")
def engine(checked: Settings) -> Engine:
    engine = make(checked)
    yield engine
    engine.close()


def detail(image: Image.Image) -> float:
    """Mean difference between neighbours."""
    return float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_flagged_picture_is_blurred_and_says_so(engine: Engine, checked: Settings, kind: str) -> None:
    done = engine.submit(replace(ASK, model=f"{kind}-flags")).result()
    assert done.info["notes"] == [FLAGGED]
    free = engine.submit(replace(ASK, model=f"{kind}-passes")).result()
    assert free.info["notes"] == []
    assert done.image.tobytes() == blur(free.image).tobytes()
    assert detail(done.image) < 0.1 * detail(free.image)
    # never black: the colours on the whole are still there
    means = [np.asarray(image, float).mean(axis=(0, 1)) for image in (done.image, free.image)]
    assert np.abs(means[0] - means[1]).max() < 16 and means[0].max() > 32


@pytest.mark.parametrize("kind", KINDS)
def test_what_passes_is_what_it_is_without_a_checker(checked: Settings, engine: Engine, kind: str) -> None:
    picture = engine.submit(replace(ASK, model=f"{kind}-passes")).result().image
    model = read(replace(checked, safety_checker=False), f"{kind}-passes")
    assert model.safety is None and model.pipeline.safety_checker is None
    if kind == "sd":
        plain = alone(model, ASK)
    else:
        seeded = torch.Generator().manual_seed(1)
        plain = model.pipeline(
            ASK.prompt, num_inference_steps=3, guidance_scale=ASK.guidance_scale, generator=seeded
        ).images[0]
    assert furthest(picture, plain) == 0


def test_each_picture_of_a_batch_is_looked_at_by_itself(checked: Settings) -> None:
    model = read(checked, "sd-passes")
    assert model.safety is not None
    requests = [model.resolve(request) for request in mixed(6, seed=4)]
    pictures = [alone(model, request) for request in requests]
    embeds = []
    for picture in pictures:  # a threshold between two of them
        seen = model.safety._extractor([picture], return_tensors="pt").pixel_values
        network = model.safety._checker
        embeds.append(network.visual_projection(network.vision_model(seen)[1]))
    cosines = torch.nn.functional.cosine_similarity(torch.cat(embeds)[:, None], network.concept_embeds[None], dim=-1)
    order = cosines[:, 0].sort().values
    network.concept_embeds_weights.data[0] = (order[2] + order[3]) / 2
    flagged = [bool(model.safety.check(picture)[1]) for picture in pictures]
    assert flagged == [bool(c > network.concept_embeds_weights[0]) for c in cosines[:, 0]] and 0 < sum(flagged) < 6


def test_previews_are_blurred_where_pictures_are_checked(checked: Settings) -> None:
    def previews(settings: Settings) -> Image.Image:
        model = read(settings, "sd-passes")
        batch = Batch(model)
        row = batch.join(model.resolve(ASK))
        batch.step()
        found = batch.previews([row])[0]
        assert found is not None
        return found

    open_, coarse = previews(replace(checked, safety_checker=False)), previews(checked)
    assert coarse.size == open_.size and coarse.tobytes() == blur(open_).tobytes() != open_.tobytes()


def test_where_the_model_ships_none_it_says_so(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.submit(replace(ASK, model="sd-passes")).result()
    assert engine.status()["safety_checker"] == "on"
    done = engine.submit(replace(ASK, model="sdxl")).result()
    assert done.info["notes"] == []
    assert engine.status()["safety_checker"] == "none (sdxl ships none)"
    assert [record.message for record in caplog.records].count("no_safety_checker") == 1


def test_it_is_off_by_default(settings: Settings) -> None:
    assert not Settings.from_environment({}).safety_checker
    assert Settings.from_environment({"SAFETY_CHECKER": "1"}).safety_checker
    idle = Engine(settings)
    assert idle.status()["safety_checker"] == "off"


def test_a_lent_gpu_checks_too(checked: Settings) -> None:
    events = list(PerCallEngine(checked, lambda function: function).submit(ASK).events())
    assert isinstance(events[-1], Done) and events[-1].info["notes"] == [FLAGGED]
    assert any(isinstance(event, Step) for event in events)
