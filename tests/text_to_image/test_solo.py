"""Pipelines of their own, step by step, with and without callbacks for steps."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import FluxPipeline

from lib.errors import InvalidValue
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.solo import SoloBatch
from lib.text_to_image.start_picture import StartPicture
from tests.text_to_image.test_batch import furthest
from tests.text_to_image.test_image_to_image import plain
from tests.text_to_image.test_start_picture import box, scene


class Old(FluxPipeline):
    """As unCLIP and latent diffusion: nobody is called between steps."""

    def __call__(  # type: ignore[no-untyped-def]
        self, prompt, num_inference_steps, guidance_scale, width, height, generator, output_type
    ):
        return super().__call__(
            prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            width=width,
            height=height,
            generator=generator,
            output_type=output_type,
        )


@pytest.fixture
def old(loaded: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> Model:
    pipeline = loaded["flux"].pipeline
    monkeypatch.setattr(loaded["flux"], "pipeline", Old(**pipeline.components))
    return loaded["flux"]


def ask(model: Model, steps: int) -> Request:
    return model.resolve(Request(prompt="a", steps=steps, seed=3))


def draw(model: Model, steps: int) -> tuple[np.ndarray, list[int]]:
    """The picture, and the steps after each turn."""
    batch, seen = SoloBatch(model), []
    row = batch.join(ask(model, steps))
    while not batch.step():
        seen.append(row.step)
    assert row.error is None
    return np.asarray(batch.decode([row])[0]), seen


def test_without_a_callback_calls_of_the_network_are_the_steps(loaded: dict[str, Model], old: Model) -> None:
    picture, seen = draw(old, 4)
    assert seen == [1, 2, 3, 4]
    assert not old.pipeline.transformer._forward_hooks
    old.pipeline = FluxPipeline(**old.pipeline.components)
    expected, steps = draw(old, 4)
    assert steps == seen and np.array_equal(picture, expected)


def test_without_a_callback_it_can_be_stopped(old: Model) -> None:
    batch = SoloBatch(old)
    row = batch.join(ask(old, 100))
    for _ in range(3):
        assert not batch.step()
    batch.leave(row)
    row._thread.join(10)
    assert not row._thread.is_alive() and row.calls == 3 and row.image is None
    assert not old.pipeline.transformer._forward_hooks


@pytest.mark.parametrize("masked", [False, True])
def test_a_pipeline_that_begins_with_a_picture(loaded: dict[str, Model], masked: bool) -> None:
    start = StartPicture.from_images(scene(64, 64), box(64, 64, 24) if masked else None, strength=0.5)
    batch, seen = SoloBatch(loaded["sd"]), []
    row = batch.join(loaded["sd"].resolve(Request(prompt="a", steps=8, seed=3, scheduler="DDIM", start=start)))
    while not batch.step():
        seen.append(row.step)
    assert row.error is None and row.steps == 4 and seen == [1, 2, 3, 4]
    assert furthest(plain(loaded["sd"], row.request), row.image) <= 1


@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_pipeline_that_begins_with_none(loaded: dict[str, Model], field: str) -> None:
    start = StartPicture.from_images(scene(256, 256), box(256, 256) if field == "mask" else None)
    request = loaded["pixart"].resolve(Request(prompt="a", steps=4, seed=3, start=start))
    words = f"{field} was 'a picture'; allowed: no {field}, because pixart does not take one"
    with pytest.raises(InvalidValue, match=words):
        SoloBatch(loaded["pixart"]).join(request)
