"""A Stop button that is only enabled while there is something to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

ENABLED = "() => ({ __type__: 'update', interactive: true })"


def listen(
    stop: gr.Button, busy: Callable[[gr.Request], bool], triggers: Sequence[Any], fn: Callable, *given: Any, **options: Any
) -> Any:
    """Like ``gr.on(triggers, fn, *given, **options)``, with a Stop button.

    ``stop`` is enabled from the click until ``busy`` returns False.
    """

    def check(http: gr.Request) -> Any:
        return gr.Button(interactive=busy(http))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    for trigger in triggers:  # enabled in the browser, since the event itself may be queued
        trigger(None, None, stop, js=ENABLED, **quiet)
    event = triggers[0](fn, *given, **options) if len(triggers) == 1 else gr.on(list(triggers), fn, *given, **options)
    event.then(check, None, stop, **quiet)
    return event
