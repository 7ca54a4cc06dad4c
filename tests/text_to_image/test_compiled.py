"""The UNet by OpenVINO: the same pictures, alone and in company, and only where it agrees with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.settings import EMBEDDED, Settings
from lib.text_to_image import compiled
from lib.text_to_image.batch import Batch
from lib.text_to_image.compiled import CompiledUNet
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from lib.text_to_image.request import Request


@pytest.fixture(scope="module")
def model(settings: Settings) -> Iterator[Model]:
    found = load(Source.parse(EMBEDDED), replace(settings, compile_unet=True))
    assert found.compiled is not None
    found.compiled.thread.join(300)
    assert found.compiled.ready
    yield found
    found.compiled.close()


class Counted:
    """How often a network is called."""

    def __init__(self, network: Any) -> None:
        self.calls = 0
        self.handle = network.register_forward_hook(lambda *_: setattr(self, "calls", self.calls + 1))


@pytest.fixture
def by_torch(model: Model) -> Iterator[Counted]:
    counted = Counted(model.pipeline.unet)
    yield counted
    counted.handle.remove()


def drawn(model: Model, *requests: Request, bucket: int = 0) -> list[np.ndarray]:
    batch = Batch(model, bucket=bucket)
    rows = [batch.join(model.resolve(request.with_seed())) for request in requests]
    while batch.rows:
        batch.step()
    return [np.asarray(image, np.int16) for image in batch.decode(rows)]


RED = Request(prompt="a red car on a track", steps=8, seed=3)


@pytest.mark.parametrize("scale", [4.0, 1.0])
def test_alone_it_draws_what_pytorch_draws(model: Model, by_torch: Counted, scale: float) -> None:
    request = replace(RED, guidance_scale=scale)
    (found,) = drawn(model, request)
    assert by_torch.calls == 0
    kept, model.compiled = model.compiled, None
    try:
        (expected,) = drawn(model, request)
    finally:
        model.compiled = kept
    assert by_torch.calls == 8 and np.abs(found - expected).max() <= 1


def test_alone_it_is_the_same_every_time_and_in_company_nearly(model: Model, by_torch: Counted) -> None:
    (alone,), (again,) = drawn(model, RED), drawn(model, RED)
    shared, other, _ = drawn(model, RED, replace(RED, prompt="a blue rocket in space", seed=4), replace(RED, seed=5))
    assert by_torch.calls == 0
    assert np.array_equal(alone, again) and np.abs(alone - shared).max() <= 1
    (expected,) = drawn(model, replace(RED, prompt="a blue rocket in space", seed=4))
    assert np.abs(other - expected).max() <= 1


def test_prompts_of_different_lengths_in_one_call_are_pytorchs(model: Model, by_torch: Counted) -> None:
    drawn(model, RED, replace(RED, prompt="a red car " * 20))
    assert by_torch.calls >= 8


def test_bit_exact_pictures_and_odd_sizes_are_pytorchs(model: Model, by_torch: Counted) -> None:
    drawn(model, RED, bucket=2)
    assert by_torch.calls == 8
    drawn(model, replace(RED, width=136, height=128))
    assert by_torch.calls == 16


def test_one_that_differs_is_not_used(model: Model) -> None:
    assert model.compiled is not None
    streams = model.compiled._single_streams
    assert model.compiled._agrees(streams)
    name, weight = next((n, p) for n, p in model.pipeline.unet.named_parameters() if n.endswith("conv_out.weight"))
    with torch.no_grad():
        weight.mul_(1.01)
    try:
        assert not model.compiled._agrees(streams), name
    finally:
        with torch.no_grad():
            weight.div_(1.01)


def test_while_a_lora_is_drawn_the_check_waits(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hooks change what PyTorch gives, to whichever thread asks."""
    assert model.compiled is not None
    monkeypatch.setattr(compiled, "RETRY_PAUSES", (0.0, 0.0))
    hook = model.pipeline.unet.conv_out.register_forward_hook(lambda module, given, out: out * 1.01)
    assert not model.compiled._agrees_with_retries(model.compiled._single_streams)
    monkeypatch.setattr(compiled.time, "sleep", lambda seconds: hook.remove())
    assert model.compiled._agrees_with_retries(model.compiled._single_streams)


def test_a_model_that_is_dropped_ends_its_process(model: Model, settings: Settings, tmp_path: Path) -> None:
    quick = replace(settings, compile_unet=True, data_folder=tmp_path)
    found = CompiledUNet.start(model.pipeline.unet, Path(model.pipeline.config._name_or_path), "other", quick)
    assert found is not None
    while found._process is None:
        found.thread.join(0.01)
    found.close()
    found.thread.join(30)
    assert not found.thread.is_alive() and not found.ready and found._process.poll() is not None
    assert not list((tmp_path / "compiled").iterdir())


def test_what_is_not_compiled(model: Model, settings: Settings, folders: dict[str, Any]) -> None:
    unet, folder = model.pipeline.unet, folders["sd"]
    assert CompiledUNet.start(unet, folder, "r", replace(settings, compile_unet=False)) is None
    assert CompiledUNet.start(unet, folder, "r", replace(settings, compile_unet=True, reproducible=True)) is None
    xl = load(Source(name="sdxl", folder=folders["sdxl"]), replace(settings, compile_unet=True))
    assert xl.compiled is None


@pytest.mark.slow
def test_a_folder_that_cannot_be_read_leaves_pytorch(model: Model, settings: Settings, tmp_path: Any) -> None:
    found = CompiledUNet.start(
        model.pipeline.unet, tmp_path, "no such", replace(settings, compile_unet=True, data_folder=tmp_path)
    )
    assert found is not None
    found.thread.join(120)
    assert not found.ready and not list((tmp_path / "compiled").iterdir())
