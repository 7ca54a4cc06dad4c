"""Hardware that lends the GPU per call, with a stand-in for ``spaces.GPU`` that pickles like it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from lib.errors import Cancelled, InvalidValue, WorkbenchError
from lib.settings import Settings
from lib.text_to_image.events import Done, Step
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import StartPicture
from lib.text_to_image.zero_gpu import PerCallEngine
from tests.text_to_image.test_batch import alone, furthest
from tests.text_to_image.test_engine import wait_for
from tests.text_to_image.test_start_picture import box, scene


class Lender:
    """Counts calls that hold the GPU; arguments and results cross a process there, so pickle them."""

    def __init__(self) -> None:
        self.holding = self.calls = 0
        self.refuse = ""

    def __call__(self, generate: Callable) -> Callable:
        def lent(*args: object) -> Iterator:
            if self.refuse:
                raise RuntimeError(self.refuse)
            self.calls += 1
            self.holding += 1
            try:
                for event in generate(*pickle.loads(pickle.dumps(args))):
                    yield pickle.loads(pickle.dumps(event))
            finally:
                self.holding -= 1

        return lent


@pytest.fixture(scope="module")
def lender() -> Lender:
    return Lender()


@pytest.fixture(scope="module")
def per_call(settings: Settings, lender: Lender) -> PerCallEngine:
    return PerCallEngine(replace(settings, default_model="sd", loaded_models=2), lender)


def test_same_events_same_picture(per_call: PerCallEngine, lender: Lender, sd: Model) -> None:
    request = Request(prompt="a car", steps=5, seed=4, scheduler="Euler a")
    events = list(per_call.submit(request).events())
    assert any(isinstance(e, Step) and e.preview for e in events) and isinstance(events[-1], Done)
    assert furthest(events[-1].image, alone(sd, request)) <= 1
    assert lender.holding == 0 and lender.calls >= 1


def test_a_start_picture_goes_along(per_call: PerCallEngine, sd: Model) -> None:
    start = StartPicture.from_images(scene(80, 80), box(80, 80, 40), strength=0.5)
    request = Request(prompt="a car", steps=6, seed=4, start=start)
    events = list(per_call.submit(request).events())
    assert {e.steps for e in events if isinstance(e, Step)} == {3}
    assert furthest(events[-1].image, alone(sd, request)) <= 1 and events[-1].info["mask"] == start.mask_digest


def test_cancel_gives_the_gpu_back(per_call: PerCallEngine, lender: Lender) -> None:
    ticket = per_call.submit(Request(prompt="a", steps=150))
    for event in ticket.events():
        if isinstance(event, Step):
            break
    wait_for(lambda: lender.holding == 0 and per_call.status()["queue_length"] == 0, seconds=5)
    with pytest.raises(Cancelled):
        ticket.result()


def test_the_lenders_refusal_reaches_the_visitor(per_call: PerCallEngine, lender: Lender) -> None:
    lender.refuse = "You have exceeded your GPU quota"
    try:
        with pytest.raises(WorkbenchError, match="exceeded your GPU quota"):
            per_call.submit(Request(prompt="a", steps=2)).result()
    finally:
        lender.refuse = ""


def test_a_bad_value_keeps_its_message_and_its_place_in_the_count(per_call: PerCallEngine) -> None:
    for _ in range(3):
        with pytest.raises(InvalidValue, match="width was 8"):
            per_call.submit(Request(prompt="a", width=8))
    with pytest.raises(InvalidValue, match="steps was 120"):
        per_call.submit(Request(prompt="a", steps=120, scheduler="LCM")).result()
    wait_for(lambda: per_call.status()["queue_length"] == 0, seconds=5)


def test_only_models_on_the_gpu_are_offered(per_call: PerCallEngine) -> None:
    assert per_call.catalogue.names == ["tiny-scenes", "sd"]
    with pytest.raises(InvalidValue):
        per_call.submit(Request(prompt="a", model="sdxl"))
