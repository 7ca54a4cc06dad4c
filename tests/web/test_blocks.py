"""A listener that breaks: the visitor gets a sentence, the log gets the place, nobody gets the words."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from lib.origin import Origin, current
from web.blocks import Page

SECRET = "zebra"


def broken(text: str) -> str:
    raise RuntimeError(text)


def refused(text: str) -> str:
    raise gr.Error("Not like this.", print_exception=False)


def origins(text: str) -> Iterator[str]:
    for _ in range(2):
        yield current.get().door


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Page() as page:
        text, answer = gr.Textbox(), gr.Textbox()
        for function in (broken, refused, origins):
            gr.Button().click(function, text, answer, api_name=function.__name__)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield Client(address, verbose=False)
    page.close(verbose=False)


def test_broken(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(SECRET, api_name="/broken")
    assert str(caught.value) == "Something went wrong inside the app (RuntimeError). The server's log has the details."
    (record,) = [one for one in caplog.records if one.name == "web.blocks"]
    assert record.levelno == logging.ERROR and record.exc_info and record.exc_info[0] is RuntimeError


def test_a_refusal_is_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AppError, match="Not like this"):
        client.predict("", api_name="/refused")
    assert not [one for one in caplog.records if one.name == "web.blocks"]


def test_generators_know_the_door_at_each_step(client: Client) -> None:
    job = client.submit("", api_name="/origins")
    assert job.result() == "api" and job.outputs() == ["api", "api"]
    assert current.get() == Origin()
