"""The Gradio API (and MCP tool) ``/text_to_image``, with the page's defaults."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Step
from lib.text_to_image.request import Request
from web.errors import as_gradio
from web.follow import follow


def build(engine: Engine) -> None:
    """Hidden components: they give the endpoint its names, types and defaults."""

    async def text_to_image(
        prompt: str,
        negative_prompt: str,
        steps: float,
        guidance_scale: float,
        seed: float,
        width: float,
        height: float,
        scheduler: str,
        model: str,
        http: gr.Request,
    ) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """Make a picture from a text.

        Args:
            prompt: What to draw, e.g. "a red car on a track".
            negative_prompt: What to keep out of the picture.
            steps: Denoising steps, 1 to 150.
            guidance_scale: How closely to follow the prompt, 0 to 30; up to 1 means no guidance.
            seed: 0 to 4294967295, or -1 for a random one.
            width: Pixels, a multiple of 8; 0 for the model's own size.
            height: Pixels, a multiple of 8; 0 for the model's own size.
            scheduler: DDIM, DPM++ 2M, DPM++ 2M Karras, Euler, Euler a, UniPC, LCM, Heun or PNDM.
            model: A name from the catalogue; empty for the default.

        Returns:
            The picture (PNG, with its parameters inside) and every parameter used.
        """
        values = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "steps": steps,
            "guidance_scale": guidance_scale,
            "seed": seed,
            "width": width,
            "height": height,
            "scheduler": scheduler,
            "model": model,
        }
        owner = http.session_hash or (http.client.host if http.client else "")
        try:
            ticket = engine.submit(Request.parse(values), owner=owner, watch=True)
            async for event in follow(ticket):
                if isinstance(event, Step):
                    yield None, {"step": event.step, "steps": event.steps, "seconds_to_go": event.seconds_to_go}
                elif isinstance(event, Done):
                    data = await asyncio.to_thread(png.encode, event.image, event.info)
                    with tempfile.TemporaryDirectory() as folder:
                        path = Path(folder) / f"{event.info['seed']}.png"
                        path.write_bytes(data)
                        yield str(path), event.info  # gradio copies it to its own cache
        except WorkbenchError as error:
            raise as_gradio(error) from None

    defaults = Request(prompt="-")
    with gr.Row(visible=False):
        inputs = [
            gr.Textbox(label="prompt"),
            gr.Textbox("", label="negative_prompt"),
            gr.Number(defaults.steps, label="steps"),
            gr.Number(defaults.guidance_scale, label="guidance_scale"),
            gr.Number(defaults.seed, label="seed"),
            gr.Number(0, label="width"),
            gr.Number(0, label="height"),
            gr.Textbox(defaults.scheduler, label="scheduler"),
            gr.Textbox(engine.catalogue.default, label="model"),
        ]
        outputs = [gr.Image(label="image", format="png", type="filepath"), gr.JSON(label="info")]
        gr.Button("text_to_image").click(
            text_to_image, inputs, outputs, api_name="text_to_image", concurrency_limit=None, show_progress="hidden"
        )
