"""Which session goes when others have left: never one with a connection."""

from __future__ import annotations

from gradio.state_holder import StateHolder

from web.sessions import Sessions


def holder(*names: str) -> StateHolder:
    states = StateHolder()
    states.session_data.update(dict.fromkeys(names))  # type: ignore[arg-type]
    return states


def test_the_one_that_left_first_goes_first() -> None:
    sessions, states = Sessions(gone=2), holder("open", "a", "b", "c")
    for name in ("a", "b", "a", "c"):
        sessions.leave(name, states)
    assert list(states.session_data) == ["open", "a", "c"]


def test_one_that_came_back_stays() -> None:
    sessions, states = Sessions(gone=1), holder("a", "b", "c")
    sessions.leave("a", states)
    sessions.connected["a"] += 1
    sessions.connected["b"] += 1  # its connection is ending
    sessions.leave("b", states)
    assert list(states.session_data) == ["a", "b", "c"]
    sessions.connected.clear()
    sessions.leave("c", states)
    assert list(states.session_data) == ["a", "c"]
    sessions.leave("unknown", states)
    assert list(states.session_data) == ["a"]
