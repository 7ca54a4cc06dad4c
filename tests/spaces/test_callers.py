"""Sessions are forgotten again, and callers of REST have turns of their own behind a Space's proxy."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from gradio_client import Client

from lib.settings import EMBEDDED, Settings
from tests.spaces.conftest import serve
from tests.text_to_image.test_engine import wait_for
from web import sessions

PROXY = "127.0.0.2"  # uvicorn believes 127.0.0.1 without being told


@pytest.fixture(scope="module")
def space(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORWARDED_ALLOW_IPS", "")  # so that it is put back
        patch.delenv("FORWARDED_ALLOW_IPS")
        patch.setenv("SPACE_ID", "you/workbench")
        patch.setattr(sessions, "MAX_SESSIONS", 3)
        home = tmp_path_factory.mktemp("space")
        own = replace(settings, default_model=EMBEDDED, data_folder=home / "data")
        yield from serve(own, patch, home / "gradio")


def test_sessions_are_forgotten(space) -> None:  # type: ignore[no-untyped-def]
    for seed in range(6):
        client = Client(space.address, verbose=False)
        client.predict(prompt="a red car", steps=1, seed=seed, api_name="/text_to_image")
    ((labels, kept),) = space.gauges()["gradio_sessions"]
    assert labels == () and 1 <= kept <= 3
    assert space.demo._queue.events_recorded == 6 and not space.demo._queue.event_count_at_last_cache  # not summed up


def test_callers_of_rest_have_turns_of_their_own(space, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    engine, owners = space.tabs[0].engine, []
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda *a, **k: (owners.append(k["owner"]), submit(*a, **k))[1])
    with httpx.Client(transport=httpx.HTTPTransport(local_address=PROXY), timeout=120) as proxy:
        for caller in ("203.0.113.7", "203.0.113.8, 10.0.0.1", "203.0.113.7"):
            asked = {"prompt": "a red car", "steps": 1}
            headers = {"X-Forwarded-For": caller}
            assert proxy.post(f"{space.address}/text-to-image", json=asked, headers=headers).status_code == 200
    assert owners == ["203.0.113.7", "203.0.113.8", "203.0.113.7"]


@pytest.mark.slow
def test_sessions_that_have_gone_make_room_first(space, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(space.traffic.sessions, "_gone", 1)
    monkeypatch.setattr(space.traffic.sessions, "_idle", datetime.timedelta(0))
    monkeypatch.setattr(space.demo.state_holder, "capacity", 100)
    ask = {"prompt": "a red car", "steps": 1, "api_name": "/text_to_image"}
    stays = Client(space.address, verbose=False)
    stays.predict(**ask)
    gone = []
    for _ in range(4):
        client = Client(space.address, verbose=False)
        client.predict(**ask)
        gone.append(client.session_hash)
        wait_for(lambda client=client: space.traffic.sessions.connected[client.session_hash])
        client.close()
        wait_for(lambda client=client: not space.traffic.sessions.connected[client.session_hash], 30)
    wait_for(lambda: len(set(gone) & set(space.demo.state_holder.session_data)) <= 1, 30)
    assert stays.session_hash in space.demo.state_holder.session_data
    stays.close()
