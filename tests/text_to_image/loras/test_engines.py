"""The engine beside LoRAs that are still to be read, are broken, or do not fit; and the engines of other hardware."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.errors import InvalidValue, ModelUnavailable
from lib.settings import Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Loading
from lib.text_to_image.loras.catalogue import LoraSource
from lib.text_to_image.request import Request
from lib.text_to_image.zero_gpu import PerCallEngine
from tests.text_to_image.loras.make import write
from tests.text_to_image.test_batch import alone, furthest
from tests.text_to_image.test_engine import make, wait_for


@pytest.fixture(scope="module")
def listed(knowing: Any, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """``ink`` and ``neon`` fit sd; ``big`` fits sdxl, ``broken`` nothing, ``gone`` is not there."""
    own, _ = knowing("sd")
    home = tmp_path_factory.mktemp("odd")
    write(home / "big.safetensors", knowing("sdxl")[1].pipeline, "kohya", seed=1)
    (home / "broken.safetensors").write_bytes(b"\xff" * 100)
    odd = tuple(f"{name}={home / name}.safetensors" for name in ("big", "broken", "gone"))
    return replace(own, loras=(*own.loras, *odd), default_model="sd", max_rows=8)


@pytest.fixture
def engine(listed: Settings) -> Iterator[Engine]:
    running = make(listed)
    yield running
    running.close()


def test_a_picture_with_a_lora(engine: Engine, knowing: Any) -> None:
    request = Request(prompt="a car", steps=3, seed=1, loras="ink, neon:0.5")
    done = engine.submit(request).result()
    assert furthest(done.image, alone(knowing("sd")[1], request)) <= 1
    assert done.info["loras"] == [["ink", 1.0], ["neon", 0.5]] and len(done.info["lora_hashes"]["ink"]) == 12


def test_others_go_on_while_a_file_is_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, file = threading.Event(), LoraSource.file

    def slow(source: LoraSource) -> Path:
        gate.wait(60)
        return file(source)

    monkeypatch.setattr(LoraSource, "file", slow)
    waiting = engine.submit(Request(prompt="a", steps=2, loras="ink"), owner="one")
    seen: list[Any] = []
    wait_for(
        lambda: seen.extend(waiting.take_events()) or any(isinstance(e, Loading) and "LoRA ink" in e.stage for e in seen)
    )
    assert engine.submit(Request(prompt="a", steps=2), owner="another").result()
    assert not waiting.ended
    gate.set()
    assert waiting.result()


def test_a_name_that_is_not_listed_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(InvalidValue, match="loras was 'evil'; allowed: ink, neon, big, broken, gone"):
        engine.submit(Request(prompt="a", loras="ink, evil"))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("big", InvalidValue, r"loras was 'big'; allowed: one for this kind of model"),
        ("broken", ModelUnavailable, r"The LoRA 'broken' could not be loaded: its file could not be read as a LoRA"),
        ("gone", ModelUnavailable, r"The LoRA 'gone' could not be loaded: its file is missing"),
    ],
)
def test_one_that_cannot_be_used_says_why(
    engine: Engine, caplog: pytest.LogCaptureFixture, name: str, kind: type[Exception], words: str
) -> None:
    for _ in range(2):  # the second time it is known
        with pytest.raises(kind, match=words) as caught:
            engine.submit(Request(prompt="a", steps=2, loras=name)).result()
        assert "/" not in str(caught.value)
    assert (kind is InvalidValue) or any(name in record.getMessage() for record in caplog.records)
    assert engine.submit(Request(prompt="a", steps=2, loras="ink")).result()


def test_a_file_that_is_there_later_is_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.text_to_image.loras import adapters

    with pytest.raises(ModelUnavailable):
        engine.submit(Request(prompt="a", steps=2, loras="gone")).result()
    monkeypatch.setattr(adapters, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(LoraSource, "file", lambda source: engine.catalogue.loras.sources["ink"].path)
    assert engine.submit(Request(prompt="a", steps=2, loras="gone")).result()


def test_where_the_gpu_is_lent_per_call(listed: Settings, knowing: Any) -> None:
    per_call = PerCallEngine(replace(listed, loaded_models=1), lambda generate: generate)
    request = Request(prompt="a car", steps=3, seed=1, loras="ink")
    *_, done = per_call.submit(request).events()
    assert isinstance(done, Done) and furthest(done.image, alone(knowing("sd")[1], request)) <= 1
    with pytest.raises(ModelUnavailable, match="The LoRA 'gone' could not be loaded"):
        per_call.submit(Request(prompt="a", steps=2, loras="gone")).result()
    with pytest.raises(InvalidValue, match="loras was 'evil'"):
        per_call.submit(Request(prompt="a", loras="evil"))
