"""When finished pictures are decoded."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lib.settings import Settings
from lib.text_to_image.group import Group
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request
from lib.text_to_image.threads import Threads


@pytest.fixture
def group(sd: Model, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Group:
    threads = Threads(torch.device("meta"))
    threads.max_threads = 2
    monkeypatch.setattr(sd, "threads", threads)
    return Group(sd, sd.resolve(Request(prompt="a")), settings)


def decoded(group: Group, monkeypatch: pytest.MonkeyPatch, finished: list[Any], rows: list[Any], tick: float) -> list[int]:
    """How many are decoded after each of four ticks."""
    seen: list[int] = []
    monkeypatch.setattr(group, "_deliver", lambda some: seen.append(len(some)))
    group._finished, group.batch.rows, group.tick_seconds = finished, rows, tick
    found = []
    for _ in range(4):
        group._decode()
        found.append(sum(seen))
    return found


def test_one_waits_for_a_second_but_not_long(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = [object()]
    assert decoded(group, monkeypatch, ["one"], under_way, 0.11) == [0, 0, 1, 1]
    assert decoded(group, monkeypatch, ["one", "two"], under_way, 0.11) == [2, 2, 2, 2]
    assert decoded(group, monkeypatch, ["one"], under_way, 10.0) == [1, 1, 1, 1]  # a step of a large model
    assert decoded(group, monkeypatch, ["last"], [], 0.11) == [1, 1, 1, 1]


def test_where_one_thread_computes_nothing_waits(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.batch.model.threads.max_threads = 1
    assert decoded(group, monkeypatch, ["one"], [object()], 0.11) == [1, 1, 1, 1]
