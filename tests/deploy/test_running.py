"""When a stage is believed, and that the token goes to a private Space only."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from lib import settings
from lib.deploy import DeploymentFailed, running
from lib.deploy.space import Space
from lib.settings import Settings
from tests.deploy.space_hub import SpaceHub
from tests.spaces.fake_hub import TOKEN


@pytest.fixture
def space(hub: SpaceHub, monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(running, "EVERY", 0.02)
    hub.make({"name": "it", "visibility": "private"})
    space = Space("ada/it")
    space.look()
    return space


def test_a_bad_stage_is_believed_when_it_lasts(hub: SpaceHub, space: Space) -> None:
    hub.spaces["ada/it"].stage = "BUILD_ERROR"
    hub.spaces["ada/it"].logs = {"build": ["why"]}
    said: list[str] = []
    with pytest.raises(DeploymentFailed, match="ended in BUILD_ERROR") as caught:
        running.wait(space, "new", "BUILD_ERROR", said.append, timeout=60, stale=0.3)
    assert caught.value.log == "  -- build log of ada/it --\n  why\n"
    assert said == [" 0:00 BUILD_ERROR"]


def test_a_private_space_wants_the_token(hub: SpaceHub, space: Space) -> None:
    hub.spaces["ada/it"].serving = {"revision": "new"}
    assert running.health(space) == {"revision": "new"}
    space.info.private = False  # type: ignore[union-attr]
    assert running.health(space) == {}


def test_a_hub_that_hiccups_is_asked_again(hub: SpaceHub, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    there, calls, ask = hub.spaces["ada/it"], [], hub.ask
    there.stage, there.serving = "RUNNING", {"revision": "new"}

    def hiccup(asked, name, what, *rest):  # type: ignore[no-untyped-def]
        calls.append(what)
        return (500, {"error": "a moment"}) if calls.count("runtime") < 3 else ask(asked, name, what, *rest)

    monkeypatch.setattr(hub, "ask", hiccup)
    said: list[str] = []
    running.wait(space, "new", "BUILDING", said.append, timeout=60)
    assert sum("500: a moment" in line for line in said) == 2


def test_a_stage_that_nobody_has_heard_of_is_waited_for(hub: SpaceHub, space: Space) -> None:
    hub.spaces["ada/it"].coming = ["SOMETHING_NEW", "RUNNING"]
    hub.spaces["ada/it"].commit({"REVISION": b"new\n"}, [], "new")
    hub.spaces["ada/it"].build()
    running.wait(space, "new", "NO_APP_FILE", lambda text: None, timeout=60)


def test_no_log_is_said(hub: SpaceHub, space: Space) -> None:
    monkey, hub.ask = hub.ask, lambda *_: (500, {"error": "no logs today"})  # type: ignore[method-assign]
    assert "the Hub returned no run log" in running.log(space, "run")
    hub.ask = monkey  # type: ignore[method-assign]


def test_the_revision_is_the_deployment_s_unless_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment({}).revision == ""  # nothing of this is in the repository
    assert Settings.from_environment({"REVISION": "abc"}).revision == "abc"
    monkeypatch.setattr(settings, "REVISION_FILE", tmp_path / "REVISION")
    (tmp_path / "REVISION").write_text("def\n")
    assert settings._deployed() == "def"
