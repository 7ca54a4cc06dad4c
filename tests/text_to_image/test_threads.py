"""Small calls get one thread, large ones all cores, shared ones what is quicker; pictures do not tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lib.text_to_image import threads as module
from lib.text_to_image.batch import Batch
from lib.text_to_image.models import Model
from lib.text_to_image.threads import MAX_PAUSE, Race, Threads
from tests.text_to_image.test_batch import alone, furthest, mixed, together

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before, known = torch.get_num_threads(), module._default
    torch.set_num_threads(4)
    module._default = None
    yield
    module._default = known
    torch.set_num_threads(before)


def used(threads: Threads, network: torch.nn.Module, positions: int, **how: bool) -> int:
    with threads.use(network, positions, **how):
        return torch.get_num_threads()


def test_a_lone_call_gets_threads_by_its_size() -> None:
    network, threads = torch.nn.Linear(1000, 1000, bias=False), Threads(CPU)
    assert used(threads, network, 10_000) == 1
    assert used(threads, network, 10_001) == 4
    assert used(threads, network, 10_001, one=True) == used(threads, network, 10_001, together=True, one=True) == 1
    assert torch.get_num_threads() == 4


def test_a_model_that_is_loaded_while_another_has_one_thread_gets_all() -> None:
    found: list[int] = []
    with Threads(CPU).use(torch.nn.Linear(1, 1), 1):
        assert torch.get_num_threads() == 1
        loading = threading.Thread(target=lambda: found.append(Threads(CPU).max_threads))
        loading.start()
        loading.join()
    assert found == [4]


def test_on_a_gpu_nothing_is_set() -> None:
    assert used(Threads(torch.device("meta")), torch.nn.Linear(1, 1), 1) == 4


def test_the_number_comes_back_after_an_error() -> None:
    for together_ in (False, True):
        with pytest.raises(ZeroDivisionError), Threads(CPU).use(torch.nn.Linear(1, 1), 1, together=together_):
            raise ZeroDivisionError
        assert torch.get_num_threads() == 4


def drive(race: Race, seconds: dict[int, float], calls: int) -> list[int]:
    chosen = []
    for _ in range(calls):
        chosen.append(race.choose(1, 4))
        race.note(chosen[-1], seconds[chosen[-1]])
    return chosen


def test_shared_calls_get_what_is_quicker_and_the_other_is_tried_now_and_then() -> None:
    race = Race()
    chosen = drive(race, {1: 2.0, 4: 1.0}, 500)
    assert 400 // MAX_PAUSE <= chosen.count(1) <= 20
    chosen = drive(race, {1: 2.0, 4: 9.0}, 500)  # somebody else wants the cores now
    assert chosen[:5].count(4) <= 3 and chosen.count(4) <= 24
    assert drive(race, {1: 2.0, 4: 1.0}, 500)[2 * MAX_PAUSE :].count(4) > 300  # and went again


def test_each_width_and_network_has_a_race_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 0.0, 1.0, 0.0, 1.0, 0.0, 9.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    threads, small, large = Threads(CPU), torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    assert [used(threads, n, p, together=True) for n, p in ((small, 9), (small, 9), (large, 9), (large, 9))] == [4, 1, 4, 1]
    monkeypatch.setattr(module.time, "perf_counter", lambda: 0.0)
    assert used(threads, small, 15, together=True) == 1 and used(threads, large, 15, together=True) == 4
    assert used(threads, small, 16, together=True) == 4  # not seen yet


def test_each_core_gets_a_part_of_the_rows_and_an_error_waits_for_the_others() -> None:
    threads, network, seen = Threads(CPU), torch.nn.Linear(1, 1), []

    def act(start: int, stop: int) -> torch.Tensor:
        seen.append((start, stop, torch.get_num_threads()))
        return torch.arange(start, stop)

    assert threads.shared(network, act, 9, 9).tolist() == list(range(9))
    assert sorted(seen) == [(0, 2, 1), (2, 4, 1), (4, 6, 1), (6, 9, 1)]
    seen.clear()
    assert threads.shared(network, act, 9, 9).tolist() == list(range(9)) and seen == [(0, 9, 1)]  # the other way, once
    ended = threading.Event()

    def broken(start: int, stop: int) -> torch.Tensor:
        if start == 0:
            raise ZeroDivisionError
        time.sleep(0.2)
        ended.set()
        return torch.zeros(1)

    with pytest.raises(ZeroDivisionError):
        Threads(CPU).shared(network, broken, 2, 2)
    assert ended.is_set() and torch.get_num_threads() == 4


def test_the_embedded_model_alone_has_one_thread_in_company_a_race(embedded: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []  # threads and rows of each call
    forward = embedded.pipeline.unet.forward
    monkeypatch.setattr(embedded, "threads", Threads(CPU))
    monkeypatch.setattr(
        embedded.pipeline.unet,
        "forward",
        lambda *a, **k: (seen.append((torch.get_num_threads(), len(a[0]))), forward(*a, **k))[1],
    )
    requests = mixed(3)
    alone(embedded, requests[0])
    assert {threads for threads, _ in seen} == {1}
    seen.clear()
    batch = Batch(embedded)
    for request in requests:
        batch.join(embedded.resolve(request))
    n = batch.num_rows
    batch.step()
    assert len(seen) == 4 and {threads for threads, _ in seen} == {1} and sum(rows for _, rows in seen) == n
    seen.clear()
    batch.step()
    assert seen == [(1, n)]
    seen.clear()
    batch = Batch(embedded, bucket=6)
    for request in requests:
        batch.join(embedded.resolve(request))
    batch.step()
    assert seen == [(1, 6)]


def test_a_change_of_threads_at_every_step_does_not_show(embedded: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = mixed(8, seed=5)
    monkeypatch.setattr(embedded, "threads", Threads(CPU))
    expected = [alone(embedded, request) for request in requests]
    turn = iter(range(10**6))
    monkeypatch.setattr(Race, "choose", lambda self, one, max_threads: (one, 2, max_threads)[next(turn) % 3])
    for request, picture, wanted in zip(requests, together(embedded, requests), expected, strict=True):
        assert furthest(picture, wanted) <= 1, request
    assert next(turn) > 8
