"""The store of what visitors had open: whose it is, how long, how much, and when its files go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import pytest

from web import visits
from web.visit import fits
from web.visits import Visits

ADA, BOB = "a" * 32, "b" * 32


@dataclass
class Value:
    folder: str = ""
    closed: int = 0
    on_disk: bool = True

    def there(self) -> bool:
        return self.on_disk

    def close(self) -> None:
        self.closed += 1


def test_a_page_finds_what_its_visitor_had_and_nobody_elses() -> None:
    store, value = Visits(24), Value()
    assert store.arrive("one", ADA) == ADA
    store.keep("one", "inspect", value)
    store.arrive("two", ADA)
    assert store.recall("two", "inspect") is value
    assert store.recall("two", "convert") is None
    store.arrive("three", BOB)
    assert store.recall("three", "inspect") is None
    assert store.recall("a page that never arrived", "inspect") is None


@pytest.mark.parametrize("key", ["", None, 7, "../../etc/passwd", "A" * 32, "a" * 31, "a" * 33, ["a" * 32]])
def test_what_is_no_key_gets_a_new_one(key: object) -> None:
    store = Visits(24)
    found = store.arrive("one", key)  # type: ignore[arg-type]
    assert visits.is_key(found) and found != key
    assert store.arrive("two", key) != found  # type: ignore[arg-type]


def test_what_was_kept_before_the_browser_told_its_key_is_the_visitors() -> None:
    store, value = Visits(24), Value()
    store.keep("one", "inspect", value)
    store.arrive("one", ADA)
    store.arrive("two", ADA)
    assert store.recall("two", "inspect") is value


def test_calls_without_a_page_share_nothing() -> None:
    store, value = Visits(24), Value()
    store.arrive("", ADA)
    store.keep("", "inspect", value)
    assert store.recall("", "inspect") is None
    for key in (ADA, BOB):
        store.arrive(key, key)
        assert store.recall(key, "inspect") is None


def test_files_go_when_neither_the_store_nor_a_page_has_them() -> None:
    store, first, second = Visits(24), Value(), Value()
    for session in ("one", "two"):
        store.arrive(session, ADA)
    store.keep("one", "inspect", first)
    assert store.recall("two", "inspect") is first
    store.keep("one", "inspect", second)
    assert first.closed == 0  # the second page still shows it
    store.keep("two", "inspect", None)
    assert first.closed == 1 and second.closed == 0  # the first page still shows this one
    store.close()
    assert (first.closed, second.closed) == (1, 1)


def test_a_page_that_has_gone_lets_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store, first, second = Visits(24), Value(), Value()
    store.arrive("one", ADA)
    store.keep("one", "inspect", first)
    store.arrive("two", ADA)
    store.keep("two", "inspect", second)
    store.leave("one")
    store.sweep()
    assert first.closed == 0  # its connection may come back
    later = time.monotonic() + visits.GONE_SECONDS + 1
    monkeypatch.setattr(visits.time, "monotonic", lambda: later)
    store.sweep()
    assert first.closed == 1 and second.closed == 0


def test_hours_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    store, value = Visits(1), Value()
    store.arrive("one", ADA)
    store.keep("one", "inspect", value)
    store.leave("one")
    later = time.monotonic() + 3601
    monkeypatch.setattr(visits.time, "monotonic", lambda: later)
    store.arrive("two", ADA)
    assert store.recall("two", "inspect") is None and value.closed == 1


def test_the_visitor_seen_longest_ago_makes_room() -> None:
    store, values = Visits(24, max_visitors=2), [Value() for _ in range(3)]
    keys = [f"{k:032x}" for k in range(3)]
    for key, value in zip(keys[:2], values[:2], strict=True):
        store.arrive(key, key)
        store.keep(key, "inspect", value)
    store.arrive("again", keys[0])
    assert store.recall("again", "inspect") is values[0]  # seen after the second
    store.arrive(keys[2], keys[2])
    store.keep(keys[2], "inspect", values[2])
    found = []
    for key in keys:
        store.arrive(f"late {key}", key)
        found.append(store.recall(f"late {key}", "inspect"))
    assert found == [values[0], None, values[2]]


def test_bytes_make_room_too(tmp_path: Path) -> None:
    store, values = Visits(24, max_bytes=1500), []
    for key in (ADA, BOB):
        folder = tmp_path / key
        folder.mkdir()
        (folder / "model.onnx").write_bytes(bytes(1000))
        values.append(Value(str(folder)))
        store.arrive(key, key)
        store.keep(key, "inspect", values[-1])
        store.leave(key)
    store.arrive("late", ADA)
    assert store.recall("late", "inspect") is None
    store.arrive("later", BOB)
    assert store.recall("later", "inspect") is values[1]  # one is kept, however large


def test_a_value_without_its_files_is_forgotten() -> None:
    store, value = Visits(24), Value()
    store.arrive("one", ADA)
    store.keep("one", "convert", value)
    value.on_disk = False
    store.arrive("two", ADA)
    assert store.recall("two", "convert") is None


def test_a_kept_form_goes_back_only_where_it_still_fits() -> None:
    with gr.Blocks():
        choice, free = gr.Dropdown(["a", "b"]), gr.Dropdown(["a"], allow_custom_value=True)
        slider, number, box, tick = gr.Slider(1, 9), gr.Number(minimum=0), gr.Textbox(), gr.Checkbox()
    taken = [(choice, "a"), (free, "z"), (slider, 9), (number, None), (number, 3), (box, "words"), (tick, False)]
    refused = [(choice, "c"), (choice, 1), (slider, 0), (slider, None), (slider, True), (number, -1), (number, "3")]
    refused += [(number, float("nan")), (box, 7), (box, "x" * 100_001), (tick, 1), (tick, None), (free, {"a": 1})]
    assert all(fits(*pair) for pair in taken)
    assert not any(fits(*pair) for pair in refused)
