"""Layout of the tab's page."""

from __future__ import annotations

import gradio as gr

from lib.convert.service.converter import Converter
from web.folders import Folders
from web.handover import Offer, Opener
from web.html import Html
from web.visit import Visit

from . import hub, page_push, view_target
from .page_open import Page
from .page_options import Options
from .page_result import Result
from .page_run import Run
from .page_samples import Inputs
from .page_shared import QUIET, Shared
from .page_source import Source
from .page_target import Targets


def build(converter: Converter, folders: Folders, visit: Visit) -> tuple[Opener, Offer]:
    """Build the page. Returns the opener for ONNX files from other tabs and the offer of ONNX results to them."""
    shared = Shared(converter, folders, visit)
    with gr.Row(elem_classes="mw-columns"):
        with gr.Column(scale=4, min_width=300):
            source = Source(shared)
        with gr.Column(scale=7, min_width=320):
            source.build_card()
    with gr.Column(visible=False) as model_column:
        with gr.Row(elem_classes="mw-columns"):
            with gr.Column(scale=5, min_width=300):
                targets = Targets(shared)
            with gr.Column(scale=6, min_width=320):
                targets.build_way()
                options = Options(shared)
                inputs = Inputs(shared)
                with gr.Row():
                    start = gr.Button("Convert", variant="primary", scale=2, min_width=120, elem_id="convert-start")
                    shared.stop.render()
                result = Result(shared)
        result.build_details()
    if hub.can_sign_in():
        page_push.build(shared)
    with gr.Accordion("Everything this installation can convert", open=False) as conversions:
        conversions_table = Html(padding=False, elem_id="convert-table")
    conversions.expand(lambda: view_target.conversion_table(converter.conversions()), None, conversions_table, **QUIET)
    page = Page(shared, source, targets, options, inputs, result, start, model_column)
    Run(page)
    return Opener("onnx", page.open_handed), result.offer
