"""What a back end tells, step by step, by one that does nothing of itself; and what crosses between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib import metrics
from lib.errors import Cancelled, GenerationFailed, InvalidValue, LimitExceeded, ModelUnavailable, QueueFull, WorkbenchError
from lib.replicas import messages, replica_metrics, replica_process
from lib.replicas.dispatcher import MAX_REPLAYS, Dispatcher, Waiting
from lib.replicas.flights import key_of, with_resolved_size
from lib.replicas.process_fleet import ProcessReplica
from lib.replicas.remote import RemoteEngine
from lib.replicas.replica import FIRST_STEP, LOADING, SILENT, STUCK, Replica
from lib.settings import Settings, threads_per_process
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Event, Failed, Loading, Queued, Step
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket
from web.tab import load_tab

RED = Image.new("RGB", (64, 64), "red")
READY = {"beat": {"status": "ready", "stage": ""}, "models": {"sd": {"size": 64, "rows": 4}}, "pid": 1}


class Still(Replica):
    """Takes everything; the test says what becomes of it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.sent: list[int] = []
        self.cancelled: list[int] = []
        self.given_up = 0

    def send(self, number: int, request: Request, watch: bool, origin: tuple[str, str]) -> None:
        self.sent.append(number)

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def give_up(self) -> None:
        self.given_up += 1


class Stage:
    def __init__(self, count: int = 2) -> None:
        self.replicas = [Still(number) for number in range(count)]
        self.waiting = Waiting()
        self.dispatcher = Dispatcher(self.waiting, lambda: list(self.replicas), lambda: None)
        for replica in self.replicas:
            self.dispatcher.heartbeat(replica, READY)

    def submit(self, **values: Any) -> Ticket:
        request = Request(prompt="a", model="sd", **{"seed": 1, "width": 64, "height": 64, "steps": 10} | values)
        ticket = Ticket(request)
        self.waiting.queue.push(key_of(request), ticket)
        self.waiting.fresh.append(ticket)
        self.dispatcher.dispatch()
        return ticket

    def say(self, replica: Replica, number: int, event: Event) -> None:
        for head, blob in messages.frames(messages.encode(number, event, None)):
            self.dispatcher.event(replica, head, blob)


def end(ticket: Ticket) -> Event:
    return ticket.take_events()[-1]


def test_three_replays_and_no_more() -> None:
    stage, before = Stage(), metrics.REPLAYS._value.get()
    ticket = stage.submit()
    for turn in range(MAX_REPLAYS + 1):
        assert not ticket.ended
        (at,) = [replica for replica in stage.replicas if stage.dispatcher.flights.of(replica)]
        stage.dispatcher.lost(at, "it ended")
        for replica in stage.replicas:
            stage.dispatcher.heartbeat(replica, READY)
        assert metrics.REPLAYS._value.get() == before + min(turn + 1, MAX_REPLAYS)
    failed = end(ticket)
    assert isinstance(failed, Failed) and isinstance(failed.error, GenerationFailed) and "lost" in str(failed.error)
    assert not stage.dispatcher.flights and not stage.dispatcher.replays


def test_what_ended_is_not_begun_again() -> None:
    stage = Stage(1)
    ticket = stage.submit()
    stage.say(stage.replicas[0], 1, Done(RED, {"seed": 1}))
    stage.dispatcher.lost(stage.replicas[0], "it ended")
    assert isinstance(end(ticket), Done) and not stage.dispatcher.replays


def test_a_replica_that_wakes_up_is_not_believed() -> None:
    stage = Stage()
    ticket = stage.submit()
    (first,) = [replica for replica in stage.replicas if replica.sent]
    stage.dispatcher.lost(first, "it does not answer")
    second = next(replica for replica in stage.replicas if replica is not first)
    assert second.sent == [2]
    stage.say(first, 1, Done(Image.new("RGB", (64, 64), "blue"), {}))
    assert not ticket.ended
    stage.say(second, 2, Done(RED, {}))
    done = end(ticket)
    assert isinstance(done, Done) and done.image.tobytes() == RED.tobytes()


def test_who_goes_away_frees_the_replica() -> None:
    stage = Stage(1)
    ticket = stage.submit()
    ticket.cancel()
    stage.dispatcher.cancelled(ticket)
    assert stage.replicas[0].cancelled == [1] and not stage.dispatcher.flights


def test_no_more_is_sent_than_fits() -> None:
    stage = Stage(1)
    tickets = [stage.submit(seed=seed) for seed in range(8)]
    assert len(stage.replicas[0].sent) == 3  # two in four rows, and one that waits there for the next tick
    stage.say(stage.replicas[0], 1, Done(RED, {}))
    assert len(stage.replicas[0].sent) == 4
    assert stage.submit(width=128, height=128, guidance_scale=1.0) and len(stage.replicas[0].sent) == 5  # another size
    assert sum(ticket.ended for ticket in tickets) == 1


def test_models_whose_guided_requests_take_one_row_get_twice_as_many() -> None:
    """Flux; and its sides are multiples of 16, which a start picture is cut to."""
    stage = Stage(1)
    models = {"sd": {"size": 64, "rows": 4, "guided": 1, "multiple": 16}}
    stage.dispatcher.heartbeat(stage.replicas[0], READY | {"models": models})
    for _ in range(9):
        stage.submit()
    assert len(stage.replicas[0].sent) == 6  # four rows, and two that wait there
    with pytest.raises(InvalidValue, match="width was 72; allowed: a multiple of 16 for sd"):
        with_resolved_size(Request(prompt="a", model="sd", width=72, height=64), stage.dispatcher.facts)


def test_nothing_goes_to_one_that_leaves_loads_or_is_lost() -> None:
    stage = Stage(1)
    stage.replicas[0].draining = True
    ticket = stage.submit()
    stage.dispatcher._emit_positions()
    assert not stage.replicas[0].sent and isinstance(end(ticket), Loading)
    stage.replicas[0].draining = False
    stage.dispatcher.heartbeat(stage.replicas[0], READY | {"beat": {"status": "loading", "stage": "reading"}})
    stage.dispatcher._emit_positions()
    assert not stage.replicas[0].sent and end(ticket) == Loading("reading", pytest.approx(0, abs=60))
    stage.dispatcher.heartbeat(stage.replicas[0], READY)
    assert stage.replicas[0].sent == [1]


def test_who_waits_hears_its_place() -> None:
    stage = Stage(1)
    tickets = [stage.submit(seed=seed) for seed in range(6)]
    stage.dispatcher._emit_positions()
    assert [end(t) for t in tickets[3:]] == [Queued(1, None), Queued(2, None), Queued(3, None)]


def test_illness() -> None:
    stage = Stage(1)
    replica, now = stage.replicas[0], time.monotonic()
    assert not replica.unhealthy_reason(now + SILENT - 1, busy=True)
    assert replica.unhealthy_reason(now + SILENT + 1, busy=False) == "it does not answer"
    stage.submit()
    replica.last_message = now + 10_000  # it speaks
    assert not replica.unhealthy_reason(now + STUCK + 5, busy=True)  # nobody knows how long its first step takes
    assert replica.unhealthy_reason(now + FIRST_STEP + 5, busy=True) == "its pictures make no progress"
    assert not replica.unhealthy_reason(now + FIRST_STEP + 5, busy=False)
    stage.say(replica, 1, Step(1, 10, None, None))
    assert replica.tick is not None and replica.unhealthy_reason(
        replica.last_step + max(STUCK, 20 * replica.tick) + 1, busy=True
    )
    replica.tick = 5.0
    assert not replica.unhealthy_reason(replica.last_step + 90, busy=True)  # 20 ticks are longer
    replica.reset()
    assert not replica.unhealthy_reason(time.monotonic() + LOADING - 5, busy=False)


PREVIEW = Image.effect_noise((16, 16), 50).convert("RGB")
EVENTS: list[Event] = [
    Loading("reading the weights", 1.5),
    Queued(3, None),
    Step(2, 20, PREVIEW, 1.5),
    Step(2, 20, None, None),
    Done(Image.effect_noise((64, 32), 50).convert("RGB"), {"seed": 7, "versions": {"torch": "2"}}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_cross(event: Event) -> None:
    ((head, blob),) = messages.frames(messages.encode(5, event, None))
    assert head["order"] == 5
    found = messages.decode(head, blob, None)
    assert found == event


def test_a_preview_crosses_once() -> None:
    first, again = (messages.encode(1, Step(n, 9, PREVIEW, None), last) for n, last in ((1, None), (2, PREVIEW)))
    assert len(again) < len(first) / 2
    ((head, blob),) = messages.frames(again)
    assert messages.decode(head, blob, PREVIEW) == Step(2, 9, PREVIEW, None)


@pytest.mark.parametrize(
    "error",
    [InvalidValue("steps", 7, "1 to 5"), QueueFull(3), Cancelled(), LimitExceeded("memory", "1 MB"), WorkbenchError("no")],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross(error: WorkbenchError) -> None:
    ((head, blob),) = messages.frames(messages.encode(1, Failed(error), None))
    found = messages.decode(head, blob, None)
    assert isinstance(found, Failed) and type(found.error) is type(error)
    assert str(found.error) == str(error) and vars(found.error) == vars(error)


@pytest.mark.parametrize("kind", ["SystemExit", "errno", "OSError", "out_of_memory"])
def test_only_our_errors_are_made(kind: str) -> None:
    head = {"order": 1, "event": "Failed", "values": {"kind": kind, "message": "x", "own": {}}}
    assert type(messages.decode(head, b"", None).error) is WorkbenchError  # type: ignore[union-attr]


def test_settings_cross_without_secrets() -> None:
    settings = replace(Settings(), models=("a/b", "c=/d"), data_folder=Path("/x"), metrics_token="secret", max_rows=3)
    told = messages.settings_out(settings)
    assert "secret" not in str(told)
    ((head, _),) = messages.frames(messages.frame(told))
    assert messages.settings_in(head) == replace(settings, metrics_token="")


def test_frames_that_are_none() -> None:
    with pytest.raises(ValueError, match="too long"):
        messages.lengths(b"\xff" * 8)


@pytest.mark.parametrize(("number", "device"), [(0, "3"), (1, "GPU-5"), (2, "3")])
def test_each_child_sees_one_of_the_owner_s_accelerators(number: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5")
    replica_process._own_accelerator(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == device


def test_cores_are_shared_unless_the_owner_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    assert threads_per_process(1) == cores and threads_per_process(cores) == threads_per_process(10 * cores) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_per_process(2) == 3


def test_observations_are_made_once_more() -> None:
    def count() -> float:
        found = [s for f in metrics.TICK_SECONDS.collect() for s in f.samples if s.name.endswith("_sum")]
        return sum(s.value for s in found if s.labels == {"model": "planted", "size": "200x200"})

    recorder = replica_metrics.Recorder("TICK_SECONDS").labels("planted", "200x200")
    recorder.observe(0.25)
    with recorder.time():
        pass
    taken = replica_metrics.pop_observations()
    assert len(taken) == 2 and not replica_metrics.pop_observations()
    replica_metrics.replay([*taken[:1], ("REGISTRY", [], 1.0)])  # the second is none that is passed on
    assert count() == 0.25


def test_the_tab_chooses_the_engine(tmp_path: Path) -> None:
    make = load_tab(Path(__file__).parent.parent.parent / "spaces" / "text_to_image")
    settings = replace(Settings(), models=("tiny-scenes",), data_folder=tmp_path)
    assert type(make(settings).engine) is Engine
    engine = make(replace(settings, replicas="2")).engine
    assert isinstance(engine, RemoteEngine) and len(engine.status()["replicas"]) == 2


def test_a_replica_starts_until_it_speaks_and_is_lost_between_two_processes() -> None:
    def said() -> str:
        return RemoteEngine._describe(place)["status"]

    place = ProcessReplica(0, Settings(), 1)
    assert said() == "starting"
    for _ in range(2):  # the second process takes the place of the first
        place._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        place.pid = place._process.pid
        assert said() == "starting"
        place.update({"beat": {"status": "loading"}, "models": {}, "pid": place.pid})
        assert said() == "loading"
        place.end()
        assert said() == "lost"


def test_replicas_that_cannot_start_tell_those_that_wait(tmp_path: Path) -> None:
    engine = RemoteEngine(replace(Settings(), models=("tiny-scenes",), data_folder=tmp_path, replicas="1"))

    async def start(listener: object) -> None:
        raise ConnectionError("no cluster at 10.0.0.1")

    engine._fleet.start = start  # type: ignore[method-assign]
    ticket = engine.submit(Request(prompt="a"))
    engine.start()
    with pytest.raises(ModelUnavailable, match=r"could not be started \(ConnectionError\)"):
        ticket.result()
    with pytest.raises(ModelUnavailable, match="could not be started"):
        engine.submit(Request(prompt="a"))
    assert engine.status()["status"] == "failed" and "10.0.0.1" not in engine.status()["error"]
    engine.close()
