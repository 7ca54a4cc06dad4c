"""Both back ends with real models in their processes: killed, frozen, cancelled, replaced; no request is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from lib import metrics
from lib.errors import Cancelled, InvalidValue, ModelUnavailable, QueueFull
from lib.replicas.remote import RemoteEngine
from lib.replicas.replica import Replica
from lib.settings import Settings
from lib.text_to_image.engine import STOPPING, Engine
from lib.text_to_image.events import Done, Failed, Loading, Queued, Step, Stopped
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import StartPicture
from lib.text_to_image.ticket import Ticket
from tests.replicas.conftest import BACK_ENDS
from tests.text_to_image.test_batch import mixed
from tests.text_to_image.test_engine import make, wait_for
from tests.text_to_image.test_start_picture import box, scene

ROOT = Path(__file__).parent.parent.parent
LONG = Request(prompt="a", steps=150, width=128, height=128)


@pytest.fixture(scope="module")
def reference(small: Settings) -> Callable[[Request], bytes]:
    """The same request in this process: pixels."""
    engine, known = make(small), dict[Request, bytes]()
    yield lambda r: known.setdefault(r, engine.submit(r).result().image.tobytes())
    engine.close()


def stepping(ticket: Ticket) -> None:
    wait_for(lambda: any(isinstance(event, Step) for event in ticket.take_events()))


def at(engine: RemoteEngine, ticket: Ticket) -> Replica:
    flight = engine._dispatcher.flights.with_ticket(ticket)
    assert flight is not None
    return flight.replica


def rows(engine: RemoteEngine) -> int:
    """As the replicas tell it themselves."""
    return sum(replica["rows"] for replica in engine.status()["replicas"])


def replays() -> float:
    return metrics.REPLAYS._value.get()


def spread(engine: RemoteEngine) -> tuple[list[Request], list[Ticket]]:
    """Requests under way on both replicas."""
    requests = [replace(LONG, seed=seed) for seed in range(2)] + [replace(LONG, seed=9, width=64, height=64)]
    tickets = [engine.submit(request) for request in requests]
    wait_for(lambda: len(engine._dispatcher.flights) == 3)
    return requests, tickets


def test_events_come_in_order(engine: RemoteEngine) -> None:
    events = list(engine.submit(Request(prompt="a car", steps=100)).events())
    assert isinstance(events[-1], Done) and all(isinstance(e, Loading | Queued | Step) for e in events[:-1])
    steps = [e for e in events if isinstance(e, Step)]
    assert [e.step for e in steps] == sorted(e.step for e in steps) and steps[-1].step <= 100
    assert steps[0].preview is not None and steps[0].preview.size == (8, 8)
    info = events[-1].info
    assert info["seed"] >= 0 and info["model"] == "sd" and info["width"] == 64 and info["seconds"] > 0
    blind = list(engine.submit(Request(prompt="a car", steps=100), watch=False).events())
    assert all(event.preview is None for event in blind if isinstance(event, Step))


def test_the_page_counts_what_replicas_measure(engine: RemoteEngine) -> None:
    def ticks() -> float:
        found = [s for f in metrics.TICK_ROWS.collect() for s in f.samples if s.name.endswith("_count")]
        return sum(s.value for s in found if s.labels == {"model": "sd", "size": "72x72"})

    before = ticks()
    engine.submit(Request(prompt="a car", steps=7, width=72, height=72)).result()
    wait_for(lambda: ticks() == before + 7)


@pytest.mark.slow
def test_fifty_clients_get_each_their_own_picture(engine: RemoteEngine, reference: Callable[[Request], bytes]) -> None:
    sizes = (64, 96, 128)
    requests = [replace(r, width=sizes[k % 3], height=sizes[k % 2]) for k, r in enumerate(mixed(50, seed=11))]
    pictures: dict[int, Done] = {}

    def client(k: int) -> None:
        pictures[k] = engine.submit(requests[k], owner=f"client {k % 5}").result()

    threads = [threading.Thread(target=client, args=(k,)) for k in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pictures) == 50
    for k, request in enumerate(requests):
        info = pictures[k].info
        assert (info["seed"], info["prompt"]) == (request.seed, request.prompt)
        assert pictures[k].image.size == (request.width, request.height)
        if k % 5 == 0:
            assert pictures[k].image.tobytes() == reference(request)


def test_refusals_are_told(engine: RemoteEngine) -> None:
    with pytest.raises(InvalidValue, match="width was 1024; allowed: 64 to 128 for sd "):
        engine.submit(Request(prompt="a", width=1024))
    with pytest.raises(InvalidValue, match="model"):
        engine.submit(Request(prompt="a", model="nothing"))
    with pytest.raises(InvalidValue, match="steps was 150") as caught:  # found by the scheduler, there
        engine.submit(Request(prompt="a", steps=150, scheduler="LCM")).result()
    assert caught.value.field == "steps"


def test_a_model_that_no_replica_has_yet(engine: RemoteEngine) -> None:
    ticket = engine.submit(Request(prompt="a", width=1024, model="sd2"))
    with pytest.raises(InvalidValue, match="width was 1024; allowed: 64 to 128 for sd2"):  # known once it is loaded
        ticket.result()
    tickets = [engine.submit(Request(prompt="a", steps=3, model="sd2", seed=seed)) for seed in range(6)]
    assert all(ticket.result().image.size == (64, 64) for ticket in tickets)


def test_cancel_frees_the_rows(engine: RemoteEngine) -> None:
    tickets = [engine.submit(replace(LONG, seed=seed)) for seed in range(2)]
    wait_for(lambda: rows(engine) == 4)
    tickets[0].cancel()
    wait_for(lambda: rows(engine) == 2, 5)
    events = tickets[1].events()
    next(events)
    events.close()  # a caller that goes away
    wait_for(lambda: rows(engine) == 0, 5)
    with pytest.raises(Cancelled):
        tickets[1].result()


def test_start_pictures_and_masks_go_along(engine: RemoteEngine, reference: Callable[[Request], bytes]) -> None:
    for number, mask in enumerate((None, box(100, 100, 40))):
        start = StartPicture.from_images(scene(100, 100, number), mask, strength=0.6)
        done = engine.submit(Request(prompt="a", steps=20, seed=number, start=start)).result()
        assert done.image.tobytes() == reference(Request(prompt="a", steps=20, seed=number, start=start))
        assert (done.info["strength"], done.info["start_picture"]) == (0.6, start.digest)
        assert done.info.get("mask", "") == start.mask_digest


def test_loras_and_notes_go_along(engine: RemoteEngine, reference: Callable[[Request], bytes]) -> None:
    request = Request(prompt="(a:1.2) car, " * 90, steps=4, seed=3, loras="ink:0.7")
    done = engine.submit(request).result()
    assert done.image.tobytes() == reference(request) != reference(replace(request, loras=()))
    assert done.info["loras"] == [["ink", 0.7]] and done.info["lora_hashes"].keys() == {"ink"}
    assert "sd reads 240" in done.info["notes"][0]
    with pytest.raises(InvalidValue, match="loras was 'evil'; allowed: ink, gone"):
        engine.submit(replace(request, loras="evil"))
    with pytest.raises(ModelUnavailable, match="The LoRA 'gone' could not be loaded"):
        engine.submit(replace(request, loras="gone")).result()


def test_a_stop_keeps_the_last_preview(engine: RemoteEngine) -> None:
    ticket = engine.submit(LONG)
    seen: list[object] = []
    wait_for(lambda: seen.extend(ticket.take_events()) or any(isinstance(event, Step) and event.preview for event in seen))
    ticket.cancel()
    *_, stopped, end = seen + ticket.take_events()
    assert isinstance(end, Failed) and isinstance(stopped, Stopped)
    assert stopped.image.size == (128, 128) and 1 <= stopped.step < stopped.steps == 150
    wait_for(lambda: rows(engine) == 0, 5)


def test_a_full_queue_refuses_at_once(engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "settings", replace(engine.settings, queue_size=2))
    tickets: list[Ticket] = []
    with pytest.raises(QueueFull, match="2 waiting"):
        for _ in range(40):
            tickets.append(engine.submit(LONG))
            wait_for(lambda: not engine._waiting.fresh)
    assert engine.status()["queue_length"] == 2
    place = next(event.position for event in tickets[-1].events() if isinstance(event, Queued))
    assert place == 2
    for ticket in tickets:
        ticket.cancel()


def test_a_drain_lets_running_ones_end(engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets: list[Ticket] = []
    while engine.status()["queue_length"] < 2:
        tickets.append(engine.submit(replace(LONG, steps=30)))
        wait_for(lambda: not engine._waiting.fresh)
    try:
        assert engine.drain(90)
        ends = [ticket.take_events()[-1] for ticket in tickets]
        assert sum(isinstance(end, Done) for end in ends) == len(tickets) - 2
        assert {str(end.error) for end in ends if isinstance(end, Failed)} == {STOPPING}
        with pytest.raises(ModelUnavailable, match="being stopped"):
            engine.submit(LONG)
    finally:
        engine._draining = False


@pytest.mark.slow
def test_a_killed_replica_loses_no_request(engine: RemoteEngine, reference: Callable[[Request], bytes]) -> None:
    requests, tickets = spread(engine)
    stepping(tickets[0])
    victim, before, pid = at(engine, tickets[0]), replays(), at(engine, tickets[0]).pid
    hit = len(engine._dispatcher.flights.of(victim))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not victim.alive, 5)
    for request, ticket in zip(requests, tickets, strict=True):
        assert ticket.result().image.tobytes() == reference(request)
    assert replays() == before + hit
    wait_for(lambda: victim.alive and victim.pid != pid)  # another one takes its place


@pytest.mark.slow
def test_a_frozen_replica_loses_no_request(engine: RemoteEngine, reference: Callable[[Request], bytes]) -> None:
    requests, tickets = spread(engine)
    stepping(tickets[0])
    victim, before = at(engine, tickets[0]), replays()
    pid, hit = victim.pid, len(engine._dispatcher.flights.of(victim))
    os.kill(pid, signal.SIGSTOP)
    try:
        for request, ticket in zip(requests, tickets, strict=True):
            assert ticket.result().image.tobytes() == reference(request)
        assert replays() == before + hit
    finally:
        with suppress(ProcessLookupError):  # it may have been ended
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_an_update_loses_no_request(engine: RemoteEngine) -> None:
    before, stop, ends = [replica.pid for replica in engine._fleet.replicas], threading.Event(), []

    def ask(owner: str) -> None:
        while not stop.is_set():
            ends.append(list(engine.submit(Request(prompt="a", steps=30), owner=owner).events())[-1])

    threads = [threading.Thread(target=ask, args=(f"client {k}",)) for k in range(3)]
    for thread in threads:
        thread.start()
    try:
        engine.update()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not {replica.pid for replica in engine._fleet.replicas} & set(before)
    assert ends and all(isinstance(end, Done) for end in ends)


APP = """
import sys, time
from lib.replicas.remote import RemoteEngine
from lib.settings import Settings
engine = RemoteEngine(Settings(models=("tiny-scenes",), device="cpu", replicas=sys.argv[1]))
engine.start()
while not all(replica.alive for replica in engine._fleet.replicas):
    time.sleep(0.05)
print(*(replica.pid for replica in engine._fleet.replicas), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("replicas", BACK_ENDS)
def test_replicas_die_with_the_app(replicas: str) -> None:
    app = subprocess.Popen([sys.executable, "-c", APP, replicas], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    pids = [int(pid) for pid in app.stdout.readline().split()]
    assert len(pids) == 2 and all(Path(f"/proc/{pid}").exists() for pid in pids)
    os.kill(pids[0], signal.SIGSTOP)  # one that cannot see the end of its stream
    app.kill()
    app.wait()
    wait_for(lambda: not any(lives(pid) for pid in pids), 60)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_engine_that_never_began(small: Settings) -> None:
    engine = RemoteEngine(replace(small, replicas="2"))
    assert engine.drain(5) and not engine.ready and engine.status()["status"] == "loading"
    engine.close()
    assert isinstance(Engine(small).status(), dict)
