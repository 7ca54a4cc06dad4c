"""Which session goes when others have left: never one with a connection, nor one that was used just now."""

from __future__ import annotations

import datetime

from gradio.state_holder import StateHolder

from web.sessions import Sessions

AT_ONCE = datetime.timedelta(0)


def holder(*names: str) -> StateHolder:
    """The first was used longest ago."""
    states = StateHolder()
    states.session_data.update(dict.fromkeys(names))  # type: ignore[arg-type]
    states.time_last_used.update(dict.fromkeys(names, datetime.datetime.now() - datetime.timedelta(seconds=90)))
    return states


def test_the_one_used_longest_ago_goes_first() -> None:
    sessions, states = Sessions(gone=2), holder("open", "a", "b", "c")
    sessions.connected["open"] = 1
    sessions.leave("c", states)
    assert list(states.session_data) == list(states.time_last_used) == ["open", "b", "c"]


def test_one_that_never_connected_goes_as_well() -> None:
    sessions, states = Sessions(gone=1), holder("program 1", "program 2", "page")
    sessions.connected["page"] = 1  # its connection is ending
    sessions.leave("page", states)
    assert list(states.session_data) == ["page"]


def test_one_that_came_back_stays() -> None:
    sessions, states = Sessions(gone=1), holder("a", "b", "c")
    sessions.connected.update({"a": 2, "b": 1})
    sessions.leave("a", states)
    assert list(states.session_data) == ["a", "b", "c"]
    sessions.connected.clear()
    sessions.leave("unknown", states)
    assert list(states.session_data) == ["c"]


def test_one_that_was_used_just_now_stays() -> None:
    sessions, states = Sessions(gone=0), holder("a", "b")
    states.time_last_used["b"] = datetime.datetime.now()
    sessions.leave("", states)
    assert list(states.session_data) == ["b"]
    Sessions(gone=0, idle=AT_ONCE).leave("", states)
    assert not states.session_data
