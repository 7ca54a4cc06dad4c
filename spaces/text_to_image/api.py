"""The Gradio API endpoint (and MCP tool) ``/text_to_image``, with the page's defaults."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Failed, Step
from lib.text_to_image.follow import follow_each
from lib.text_to_image.request import Request
from lib.text_to_image.start_picture import STRENGTH
from lib.text_to_image.start_picture_reader import StartPictureReader
from lib.text_to_image.ticket import Ticket
from web.errors import as_gradio
from web.schemas import inline

from .start import submit, with_start_picture

Answer = tuple[str | list[str] | None, dict[str, Any] | list[dict[str, Any]]]


def build(engine: Engine, reader: StartPictureReader) -> None:
    """Creates hidden components that define the names, types and defaults of the endpoint."""

    async def text_to_image(
        http: gr.Request,
        prompt: str,
        negative_prompt: str,
        steps: float,
        guidance_scale: float,
        seed: float,
        width: float,
        height: float,
        scheduler: str,
        model: str,
        count: float,
        loras: str,
        image: str | None = None,
        mask: str | None = None,
        strength: float = STRENGTH,
    ) -> AsyncIterator[Answer]:
        """Generate a picture from a prompt, or several at once; with image, change a picture.

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
            count: Pictures, 1 to 8, with seeds seed, seed + 1, and so on.
            loras: Names from the app's list with weights from 0 to 2, such as "ink:0.8, neon"; empty for none.
            image: A start picture (image to image). With width and height 0, the size follows its aspect ratio.
            mask: A picture that is white where image is repainted and black where it is kept (inpainting).
            strength: How much of image is changed, above 0 and up to 1: the share of the steps that are run.

        Returns:
            The picture (PNG with embedded parameters) and all parameters used; if count is above 1, a list of pictures
            and a list of their parameters.
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
            "count": count,
            "loras": loras,
        }
        owner = http.session_hash or (http.client.host if http.client else "")
        try:
            request = await with_start_picture(Request.parse(values), reader, image, mask, strength)
            tickets = await submit(engine, request, owner=owner, watch=True)
            async with aclosing(_answers(tickets)) as answers:
                async for answer in answers:
                    yield answer
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
            gr.Number(defaults.count, label="count"),
            gr.Textbox("", label="loras"),
            gr.File(label="image"),
            gr.File(label="mask"),
            gr.Number(STRENGTH, label="strength"),
        ]
        for component in inputs:
            if isinstance(component, gr.File):
                inline(component)
        # the value of a File is a path or, for several files, a list of paths
        outputs = [gr.File(label="image", file_count="multiple"), gr.JSON(label="info")]
        gr.Button("text_to_image").click(
            text_to_image, inputs, outputs, api_name="text_to_image", concurrency_limit=None, show_progress="hidden"
        )


async def _answers(tickets: list[Ticket]) -> AsyncIterator[Answer]:
    """Yields steps as they arrive, and finally the picture, or all of them."""
    paths: dict[int, str] = {}
    infos: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with aclosing(follow_each(tickets)) as events:
            async for place, event in events:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Step):
                    details = {"step": event.step, "steps": event.steps, "seconds_to_go": event.seconds_to_go}
                    yield None, details | ({"picture": place + 1, "count": len(tickets)} if len(tickets) > 1 else {})
                elif isinstance(event, Done):
                    path = Path(folder) / f"{event.info['seed']}.png"
                    path.write_bytes(await asyncio.to_thread(png.encode, event.image, event.info))
                    paths[place], infos[place] = str(path), event.info
        files = [paths[place] for place in range(len(tickets))]
        details = [infos[place] for place in range(len(tickets))]
        yield (files, details) if len(tickets) > 1 else (files[0], details[0])  # Gradio copies the files to its cache
