"""A form that pushes the open result to the Hub, for visitors who sign in."""

from __future__ import annotations

import asyncio

import gradio as gr

from lib.errors import WorkbenchError
from web.cards import failed, progress
from web.html import Html

from . import hub, view_details
from .page_shared import QUIET, Shared, Values
from .subject import TabState


def build(shared: Shared) -> None:
    with gr.Accordion("Push to the Hub", open=False):
        gr.LoginButton(size="sm")
        with gr.Row():
            repository = gr.Textbox(label="Repository", placeholder="you/model", min_width=200)
            folder = gr.Textbox(label="Folder", placeholder="top level", min_width=120)
            how = gr.Radio([hub.NEW, hub.PULL], value=hub.NEW, label="As", min_width=200)
        with gr.Row():
            private = gr.Checkbox(True, label="Private", info="only for a new repository")
            anyway = gr.Checkbox(label="Push even if it is not proven")
            button = gr.Button("Push", min_width=120)
        message = Html(padding=False, elem_id="convert-pushed")

    async def push(
        state: TabState | None, where: str | None, inside: str | None, as_what: str, hidden: bool, even: bool,
        token: gr.OAuthToken | None,
    ) -> Values:  # fmt: skip
        yield progress("Sending the files to the Hub", None)
        outcome = state.results.open if state and state.results else None
        try:
            url = await asyncio.to_thread(
                hub.push, outcome, token, where, as_what, folder=inside, private=bool(hidden), anyway=bool(even)
            )
            yield view_details.pushed(url)
        except WorkbenchError as error:
            yield failed(error, "not pushed")

    button.click(push, [shared.state, repository, folder, how, private, anyway], message, **QUIET)
