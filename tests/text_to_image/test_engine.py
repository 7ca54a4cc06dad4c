"""The engine with a real model in it: queue, turns, cancels, faults, and nobody's picture swapped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from lib.errors import Cancelled, GenerationFailed, InvalidValue, ModelUnavailable, QueueFull
from lib.settings import Settings
from lib.text_to_image import model_loading
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Failed, Loading, Queued, Step
from lib.text_to_image.models import Model, Source
from lib.text_to_image.request import SCHEDULERS, Request
from tests.text_to_image.test_batch import alone, furthest, mixed

BEFORE_THE_END = 9.5  # seconds: a hundred steps of 0.1 seconds and more are not over


def make(settings: Settings, **changes: object) -> Engine:
    engine = Engine(replace(settings, **changes))
    engine.start()
    wait_for(lambda: engine.ready or engine.status()["status"] == "failed")
    return engine


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def small(settings: Settings) -> Iterator[Engine]:
    """An engine on the random model: a step takes milliseconds."""
    engine = make(settings, default_model="sd", max_rows=8)
    yield engine
    engine.close()


def slow(monkeypatch: pytest.MonkeyPatch, engine: Engine, seconds: float = 0.03) -> None:
    unet = engine._models.get("sd").pipeline.unet  # type: ignore[union-attr]
    forward = unet.forward
    monkeypatch.setattr(unet, "forward", lambda *a, **k: (time.sleep(seconds), forward(*a, **k))[1])


def test_events_come_in_order(small: Engine) -> None:
    events = list(small.submit(Request(prompt="a car", steps=5)).events())
    kinds = [type(e) for e in events]
    assert kinds[-1] is Done and Step in kinds and set(kinds[:-1]) <= {Loading, Queued, Step}
    steps = [e for e in events if isinstance(e, Step)]
    assert [e.step for e in steps] == sorted(e.step for e in steps) and steps[-1].step <= 5
    assert steps[0].preview is not None and steps[0].preview.size == (8, 8)
    info = events[-1].info
    assert info["seed"] >= 0 and info["model"] == "sd" and info["width"] == 64 and info["seconds"] > 0


def test_fifty_clients_get_each_their_own_picture(settings: Settings, sd: Model) -> None:
    engine = make(settings, default_model="sd", max_rows=12)
    requests, pictures = mixed(50, seed=11), {}

    def client(k: int) -> None:
        time.sleep(0.01 * (k % 7))
        pictures[k] = engine.submit(requests[k], owner=f"client {k % 5}").result()

    threads = [threading.Thread(target=client, args=(k,)) for k in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert len(pictures) == 50
    for k, request in enumerate(requests):
        assert pictures[k].info["seed"] == request.seed and pictures[k].info["prompt"] == request.prompt
        assert furthest(pictures[k].image, alone(sd, request)) <= 1, request


def test_reproducible_mode_through_the_engine(settings: Settings, sd: Model) -> None:
    engine = make(settings, default_model="sd", max_rows=6, reproducible=True)
    tickets = [engine.submit(r) for r in mixed(9, seed=5)]
    pictures = [t.result().image for t in tickets]
    again = [engine.submit(r).result().image for r in mixed(9, seed=5)]
    engine.close()
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in again]


@pytest.mark.parametrize("after", ["queued", "first step"])
def test_cancel_frees_the_rows_in_the_middle(small: Engine, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    slow(monkeypatch, small, 0.1)
    long = [small.submit(Request(prompt="a", steps=100, seed=k)) for k in range(4)]  # 8 rows: full
    wait_for(lambda: small.status()["rows_in_batch"] == 8)
    victim = small.submit(Request(prompt="b", steps=100)) if after == "queued" else long[0]
    victim.cancel()
    wait_for(lambda: small.status()["rows_in_batch"] == (8 if after == "queued" else 6), seconds=BEFORE_THE_END)
    assert small.status()["queue_length"] == 0
    with pytest.raises(Cancelled):
        victim.result()
    for ticket in long:
        ticket.cancel()
    wait_for(lambda: small.status()["rows_in_batch"] == 0, seconds=BEFORE_THE_END)


def test_a_caller_that_leaves_the_loop_cancels(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, small, 0.1)
    events = small.submit(Request(prompt="a", steps=100)).events()
    while not isinstance(next(events), Step):
        pass
    events.close()
    wait_for(lambda: small.status()["rows_in_batch"] == 0, seconds=BEFORE_THE_END)


def test_a_full_queue_refuses_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(settings, default_model="sd", max_rows=2, queue_size=2)
    slow(monkeypatch, engine)
    tickets = [engine.submit(Request(prompt="a", steps=100))]
    wait_for(lambda: engine.status()["rows_in_batch"] == 2)
    tickets += [engine.submit(Request(prompt="a", steps=100)) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 waiting"):
        engine.submit(Request(prompt="a"))
    positions = next(e.position for e in tickets[2].events() if isinstance(e, Queued))
    assert positions == 2
    engine.close()


def test_a_large_picture_holds_up_no_small_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(settings, default_model="sd", max_rows=2)
    slow(monkeypatch, engine)
    large = [engine.submit(Request(prompt="a", steps=60, width=128, height=128), owner="ann") for _ in range(3)]
    wait_for(lambda: engine.status()["rows_in_batch"] == 2)
    assert engine.submit(Request(prompt="b", steps=4), owner="ben").result()
    assert not any(t.ended for t in large)
    engine.close()


@pytest.mark.slow
def test_one_visitor_with_many_requests_holds_up_no_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(settings, default_model="sd", max_rows=2)
    slow(monkeypatch, engine, 0.005)
    ends: list[str] = []
    greedy = [engine.submit(Request(prompt="a", steps=10, seed=k), owner="ann") for k in range(6)]
    modest = engine.submit(Request(prompt="b", steps=10), owner="ben")

    def note(name: str, ticket) -> None:  # type: ignore[no-untyped-def]
        ticket.result()
        ends.append(name)

    threads = [threading.Thread(target=note, args=a) for a in [*(("ann", t) for t in greedy), ("ben", modest)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert ends.index("ben") <= 2


def test_a_fault_ends_one_request_and_not_its_neighbours(small: Engine, monkeypatch: pytest.MonkeyPatch, sd: Model) -> None:
    from lib.text_to_image import schedulers

    make_scheduler = schedulers.make_scheduler

    def brittle(name: str, trained: object) -> object:
        scheduler = make_scheduler(name, trained)
        if name == "UniPC":
            scheduler.step = None
        return scheduler

    monkeypatch.setattr(schedulers, "make_scheduler", brittle)
    good = [Request(prompt="a", steps=6, seed=k, scheduler=SCHEDULERS[k]) for k in range(3)]
    tickets = [small.submit(r) for r in good]
    with pytest.raises(GenerationFailed):
        small.submit(Request(prompt="a", steps=6, scheduler="UniPC")).result()
    for request, ticket in zip(good, tickets, strict=True):
        assert furthest(ticket.result().image, alone(sd, request)) <= 1


def test_a_decoder_that_breaks_on_one_picture_spares_the_others(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = small._models.get("sd").pipeline.vae  # type: ignore[union-attr]
    decode, seen = vae.decode, []

    def picky(latents: torch.Tensor, **rest: object) -> object:
        seen.append(len(latents))
        if len(latents) > 1 or len(seen) == 2:
            raise ValueError("no")
        return decode(latents, **rest)

    monkeypatch.setattr(vae, "decode", picky)
    tickets = [small.submit(Request(prompt="a", steps=3, seed=k)) for k in range(3)]
    ends = [list(t.events())[-1] for t in tickets]
    assert sum(isinstance(e, Failed) for e in ends) <= 1 and sum(isinstance(e, Done) for e in ends) >= 2
    assert small.submit(Request(prompt="a", steps=2)).result()


def test_memory_running_out_lowers_the_cap_and_loses_nobody(
    small: Engine, monkeypatch: pytest.MonkeyPatch, sd: Model
) -> None:
    unet = small._models.get("sd").pipeline.unet  # type: ignore[union-attr]
    forward = unet.forward

    def tight(sample: torch.Tensor, *args: object, **rest: object) -> object:
        if len(sample) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return forward(sample, *args, **rest)

    monkeypatch.setattr(unet, "forward", tight)
    requests = [replace(r, scheduler=SCHEDULERS[k]) for k, r in enumerate(mixed(6, seed=9))]
    for request, ticket in zip(requests, [small.submit(r) for r in requests], strict=True):
        assert furthest(ticket.result().image, alone(sd, request)) <= 1


def test_models_with_unets_and_with_transformers_side_by_side(settings: Settings, loaded: dict[str, Model]) -> None:
    """Each model has a batch of its own; all of them are under way at once."""
    engine = make(settings, default_model="sd", loaded_models=3, max_rows=8)
    requests = [
        Request(prompt="a", steps=4, seed=k, model=model, scheduler=scheduler, width=width, height=width)
        for k, (model, scheduler) in enumerate((m, s) for s in ("Euler", "UniPC") for m in ("sd", "sd3", "flux"))
        for width in [512 if model == "flux" else 0]
    ]
    tickets = [engine.submit(request) for request in requests]
    for request, ticket in zip(requests, tickets, strict=True):
        assert furthest(ticket.result().image, alone(loaded[request.model], request)) <= 1
    engine.close()


def test_a_scheduler_that_the_model_lacks_is_refused_whenever_it_is_known(small: Engine) -> None:
    request = Request(prompt="a", steps=2, model="sd3", scheduler="PNDM")
    with pytest.raises(InvalidValue, match=r"scheduler was 'PNDM'; allowed: DPM\+\+ 2M, Euler, .* for sd3"):
        small.submit(request).result()  # while it is being loaded, an event
    with pytest.raises(InvalidValue, match="for sd3"):
        small.submit(request)  # and then at once


def test_cancelling_a_picture_of_stable_diffusion_3(small: Engine) -> None:
    tickets = [small.submit(Request(prompt="a", steps=100, seed=k, model="sd3")) for k in range(2)]
    for event in tickets[0].events():
        if isinstance(event, Step) and event.preview is not None:
            assert event.preview.size == (16, 16)
            break
    with pytest.raises(Cancelled):
        tickets[0].result()
    assert tickets[1].result().info["seed"] == 1


def test_a_family_without_a_batch_still_works(small: Engine) -> None:
    events = list(small.submit(Request(prompt="a", steps=4, seed=3, model="pixart")).events())
    assert isinstance(events[-1], Done) and any(isinstance(e, Step) for e in events)
    assert any(isinstance(e, Loading) for e in events)
    again = small.submit(Request(prompt="a", steps=4, seed=3, model="pixart")).result()
    assert again.image.tobytes() == events[-1].image.tobytes()


def test_cancelling_a_family_without_a_batch(small: Engine) -> None:
    ticket = small.submit(Request(prompt="a", steps=100, model="pixart"))
    for event in ticket.events():
        if isinstance(event, Step):
            break
    with pytest.raises(Cancelled):
        ticket.result()
    wait_for(lambda: small.status()["rows_in_batch"] == 0)
    assert small.submit(Request(prompt="a", steps=2, model="pixart")).result()


def test_two_sizes_of_a_family_without_a_batch_never_share_its_pipeline(small: Engine) -> None:
    small_one, large_one = (Request(prompt="a", steps=6, seed=3, model="pixart", width=w, height=w) for w in (128, 192))
    solo = small.submit(small_one).result()
    tickets = [small.submit(small_one), small.submit(large_one)]
    assert tickets[0].result().image.tobytes() == solo.image.tobytes()
    assert tickets[1].result().image.size == (192, 192)


def test_a_model_that_fails_does_not_leave_the_place_empty(settings: Settings, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    own = (*settings.models, f"broken={tmp_path / 'empty'}")
    engine = make(settings, models=own, default_model="sd", loaded_models=1)
    with pytest.raises(ModelUnavailable):
        engine.submit(Request(prompt="a", model="broken")).result()
    wait_for(lambda: engine.ready)
    assert engine.status()["model"] == "sd"
    engine.close()


def test_a_model_that_leaves_leaves_the_memory(settings: Settings) -> None:
    import gc
    import weakref

    engine = make(settings, default_model="sd", loaded_models=1)
    engine.submit(Request(prompt="a", steps=2)).result()
    gone = weakref.ref(engine._models.get("sd").pipeline.unet)  # type: ignore[union-attr]
    seen: list[bool] = []
    load = engine._models._load

    def look(name: str) -> None:
        gc.collect()
        seen.append(gone() is None)
        load(name)

    engine._models._load = look  # type: ignore[method-assign]
    engine.submit(Request(prompt="a", steps=2, model="sd2")).result()
    engine.close()
    assert seen == [True]


@pytest.mark.slow
def test_models_take_turns_in_one_place(settings: Settings) -> None:
    engine = make(settings, default_model="sd", loaded_models=1)
    tickets = [engine.submit(Request(prompt="a", steps=3, model=m)) for m in ("sd", "sd2", "sd", "sdxl")]
    assert [t.result().info["model"] for t in tickets] == ["sd", "sd2", "sd", "sdxl"]
    assert len(engine._models.loaded) == 1
    engine.close()


def test_visitors_choose_from_the_list(small: Engine) -> None:
    for name in ("evil/model", "/etc", "..", "sd=/tmp"):
        with pytest.raises(InvalidValue, match="allowed: tiny-scenes, sd, sd2"):
            small.submit(Request(prompt="a", model=name))


def test_a_model_that_cannot_be_loaded_says_so_without_a_path(settings: Settings, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "secret").mkdir()
    engine = make(settings, models=(f"broken={tmp_path / 'secret'}",), default_model="broken")
    assert engine.status()["status"] == "failed" and not engine.ready
    with pytest.raises(ModelUnavailable) as caught:
        engine.submit(Request(prompt="a")).result()
    assert "broken could not be loaded" in str(caught.value) and "secret" not in str(caught.value)
    assert "secret" not in str(engine.status())
    engine.close()


def test_a_hub_model_without_a_network_says_so(settings: Settings) -> None:
    engine = make(settings, models=("someone/some-model",), default_model="someone/some-model")
    with pytest.raises(ModelUnavailable, match="someone/some-model could not be loaded"):
        engine.submit(Request(prompt="a")).result()
    engine.close()


def test_a_pickled_model_is_not_opened(settings: Settings, folders, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import shutil

    shutil.copytree(folders["sd"], tmp_path / "m")
    weights = tmp_path / "m" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    source = Source(name="m", folder=tmp_path / "m")
    with pytest.raises(ModelUnavailable):
        model_loading.load(source, settings)


def test_closing_ends_everybody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(settings, default_model="sd", max_rows=2)
    slow(monkeypatch, engine)
    tickets = [engine.submit(Request(prompt="a", steps=100)) for _ in range(3)]
    engine.close()
    for ticket in tickets:
        with pytest.raises(Cancelled):
            ticket.result()


def test_a_turn_that_breaks_ends_whoever_is_there_and_the_next_are_served(
    small: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, small)
    under_way = [small.submit(Request(prompt="a", steps=100, seed=k)) for k in range(4)]  # 8 rows: full
    wait_for(lambda: small.status()["rows_in_batch"] == 8)
    tell_queue, turns = small._emit_positions, []

    def broken() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ZeroDivisionError
        tell_queue()

    monkeypatch.setattr(small, "_emit_positions", broken)
    under_way.append(small.submit(Request(prompt="a", steps=100)))
    for ticket in under_way:
        with pytest.raises(GenerationFailed, match=r"The engine failed \(ZeroDivisionError\)"):
            ticket.result()
    assert small.ready and small.submit(Request(prompt="a", steps=2)).result()
    assert small.status()["rows_in_batch"] == 0


def test_a_request_that_breaks_between_queue_and_batch_is_told(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.text_to_image import engine

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(engine, "Group", broken)
        with pytest.raises(GenerationFailed, match="ZeroDivisionError"):
            small.submit(Request(prompt="a", steps=2)).result()
    assert small.submit(Request(prompt="a", steps=2)).result()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_whose_thread_has_died_says_so(small: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, small)
    tickets = [small.submit(Request(prompt="a", steps=100, seed=k)) for k in range(5)]  # 8 rows are full, one waits
    wait_for(lambda: small.status()["rows_in_batch"] == 8)

    def leave() -> None:
        raise SystemExit

    monkeypatch.setattr(small, "_emit_positions", leave)
    for ticket in tickets:
        with pytest.raises(ModelUnavailable, match="engine has ended"):
            ticket.result()
    wait_for(lambda: not small.ready)
    status = small.status()
    assert status["status"] == "failed" and "engine has ended" in status["error"] and status["queue_length"] == 0
    with pytest.raises(ModelUnavailable, match="engine has ended"):
        small.submit(Request(prompt="a"))
