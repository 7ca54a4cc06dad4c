"""One engine a back end for the whole suite: starting replicas is what takes long."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lib.replicas.remote import RemoteEngine
from lib.settings import Settings
from tests import tiny
from tests.text_to_image.loras.make import write
from tests.text_to_image.test_engine import wait_for

RAY = "ray://local?replicas=2"
BACK_ENDS = [
    pytest.param("2", id="children"),
    pytest.param(
        RAY,
        id="ray",
        marks=[pytest.mark.slow, pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")],
    ),
]


@pytest.fixture(scope="session")
def small(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The random model in batches of four rows, exact to the bit, and a LoRA for it."""
    ink = write(tmp_path_factory.mktemp("lora") / "ink.safetensors", tiny.stable_diffusion(), "kohya", seed=1, alpha=0.4)
    loras = (f"ink={ink}", f"gone={ink.parent / 'gone'}")
    return replace(settings, default_model="sd", max_rows=4, reproducible=True, loaded_models=2, loras=loras)


@pytest.fixture(scope="module", params=BACK_ENDS)
def running(request: pytest.FixtureRequest, small: Settings) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(replace(small, replicas=request.param))
    engine.start()
    yield engine
    engine.close()
    assert not any(replica.alive for replica in engine._fleet.replicas)


@pytest.fixture
def engine(running: RemoteEngine) -> RemoteEngine:
    """Both replicas are there, with nothing under way."""
    wait_for(lambda: all(replica.usable for replica in running._fleet.replicas), 300)
    wait_for(lambda: not running._dispatcher.flights and not running.status()["queue_length"])
    return running
