"""``POST`` and ``GET /text-to-image``: takes JSON, a query string or a form, and returns a PNG, or a zip of several.

A form can contain a start picture and a mask: ``curl -F prompt="a blue car" -F image=@car.png -F mask=@mask.png``.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import zipfile
from contextlib import aclosing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from fastapi import Request as HttpRequest
from fastapi import Response
from fastapi.routing import APIRoute

from lib.errors import InvalidFile, InvalidValue, ModelUnavailable, WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done, Failed
from lib.text_to_image.follow import follow_each
from lib.text_to_image.loras.selection import FORM
from lib.text_to_image.request import MAX_COUNT, MAX_PROMPT, MAX_SEED, MAX_STEPS, SCHEDULERS, Request
from lib.text_to_image.start_picture import STRENGTH
from lib.text_to_image.start_picture_reader import StartPictureReader
from lib.text_to_image.ticket import Ticket
from web import form as forms
from web.body import SMALL_MB, receive
from web.errors import as_response
from web.openapi import body, file, form, headers, json_body, part, query, route

from .start import submit, with_start_picture
from .tokens import tokens

MAX_BODY = 64 * 1024  # of JSON
MAX_MB = 128  # of a form: two pictures
FILES = ("image", "mask")
FORM_EXAMPLE = '-F prompt="a blue car" -F image=@car.png'
AWAY_SECONDS = 0.25


def routes(engine: Engine, reader: StartPictureReader) -> list[APIRoute]:
    most_mb = min(MAX_MB, engine.settings.max_file_mb)

    async def text_to_image(http: HttpRequest) -> Response:
        """Generate one picture as a PNG, or several (count) as a zip.

        Parameters: prompt and, optionally, negative_prompt, steps, guidance_scale, seed, width, height, scheduler,
        model, count, loras, strength.

        A form can contain a start picture (image) and a mask, white where the picture is repainted.
        Files in a zip are named by their seeds: X-Seed, X-Seed + 1, …
        """
        try:
            with tempfile.TemporaryDirectory(prefix="workbench-start-", ignore_cleanup_errors=True) as folder:
                values, files = await _values(http, Path(folder), most_mb)
                strength = values.pop("strength", None)
                request = Request.parse(values)
                if not engine.ready:
                    raise ModelUnavailable("No model is loaded yet; GET /healthz shows the progress.")
                request = await with_start_picture(request, reader, files.get("image"), files.get("mask"), strength)
            owner = http.client.host if http.client else ""
            results = await _finish(await submit(engine, request, owner=owner, watch=False), http)
            data = await asyncio.to_thread(_zipped if len(results) > 1 else _encoded, results)
        except WorkbenchError as error:
            return as_response(error)
        notes = list(dict.fromkeys(note for single in results for note in single.info.get("notes") or ()))
        headers = {"X-Seed": str(results[0].info["seed"]), "X-Notes": json.dumps(notes)}
        if len(results) == 1:
            return Response(data, media_type="image/png", headers=headers)
        name = {"Content-Disposition": 'attachment; filename="pictures.zip"'}
        return Response(data, media_type="application/zip", headers=headers | name)

    schemas = parameters(engine.catalogue.names, engine.catalogue.loras.names)
    single = file("The picture; its parameters are inside.", "image/png")["content"]
    several = file("Where count is above 1: PNG files named by their seeds.", "application/zip")["content"]
    responses: dict[str, Any] = {
        "answer": {"content": single | several}
        | headers(
            X_Seed="The seed of the picture, or of the first one.",
            X_Notes="Notes on the picture: a JSON list of sentences, often empty.",
        ),
        "errors": (422, 429, 500, 503),
    }
    query_parameters = [query(n, s["description"], required=n == "prompt", **s) for n, s in schemas.items()]
    json_schema = {"type": "object", "properties": schemas, "required": ["prompt"], "additionalProperties": False}
    form_schemas = schemas | {"image": part("A start picture."), "mask": part("White where image is repainted.")}
    request_body = body(f"What to draw; as a form at most {most_mb} MB.", json_body(json_schema), form(**form_schemas))
    post_responses = responses | {"errors": (413, *responses["errors"])}
    return [
        route("/text-to-image", text_to_image, parameters=query_parameters, **responses),
        route("/text-to-image", text_to_image, method="POST", body=request_body, **post_responses),
        tokens(engine.catalogue),
    ]


def parameters(models: list[str], loras: list[str]) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of the fields of ``lib/text_to_image/request.py``, with their defaults."""
    kinds = {"str": "string", "int": "integer", "float": "number"}
    size = {"minimum": 0, "maximum": 4096, "multipleOf": 8}
    schemas: dict[str, dict[str, Any]] = {
        "prompt": {"description": "What to draw.", "maxLength": MAX_PROMPT},
        "negative_prompt": {"description": "What to keep out of the picture.", "maxLength": MAX_PROMPT},
        "steps": {"description": "Denoising steps.", "minimum": 1, "maximum": MAX_STEPS},
        "guidance_scale": {
            "description": "How closely to follow the prompt; up to 1: no guidance.",
            "minimum": 0,
            "maximum": 30,
        },
        "seed": {"description": "-1: a random one.", "minimum": -1, "maximum": MAX_SEED},
        "width": {"description": "Pixels; 0: the model's own size.", **size},
        "height": {"description": "Pixels; 0: the model's own size.", **size},
        "scheduler": {"description": "The sampler.", "enum": list(SCHEDULERS)},
        "model": {"description": "Empty: the default.", "enum": ["", *models]},
        "count": {"description": "Pictures: seeds seed, seed + 1, …", "minimum": 1, "maximum": MAX_COUNT},
        "strength": {
            "description": "How much of image is changed: the share of the steps that are run.",
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "default": STRENGTH,
        },
        "loras": {"description": f"{FORM}. Names: {', '.join(loras) or 'none here'}.", "default": ""},
    }
    typed = {
        f.name: {"type": kinds.get(str(f.type), "string")} | ({} if f.default is MISSING else {"default": f.default})
        for f in fields(Request)
        if f.name in schemas
    }
    return {name: typed.get(name, {}) | schemas[name] for name in schemas}


async def _values(http: HttpRequest, folder: Path, most_mb: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Returns the query parameters, overridden by the body's JSON or fields, and the files of a form by field."""
    values: dict[str, Any] = dict(http.query_params)
    kind, path = http.headers.get("content-type"), folder / "body"
    is_form = forms.is_form(kind)
    size = await receive(http, path, most_mb if is_form else SMALL_MB)
    files: dict[str, Path] = {}
    if is_form:
        uploads, fields = await forms.read(path, str(kind), folder, FORM_EXAMPLE)
        files = _one_each(uploads)
        values |= fields
    elif size:
        values |= _json(size, path)
    for name in FILES:
        if name in values:
            raise InvalidFile(f"{name} is a file: send it in a form, as curl -F {name}=@picture.png does.")
    return values, files


def _one_each(found: dict[str, list[tuple[Path, str]]]) -> dict[str, Path]:
    for name, parts in found.items():
        if name not in FILES:
            raise InvalidValue("file", name, ", ".join(FILES))
        if len(parts) > 1:
            raise InvalidValue(name, f"{len(parts)} files", "one file")
    return {name: parts[0][0] for name, parts in found.items()}


def _json(size: int, path: Path) -> dict[str, Any]:
    if size > MAX_BODY:
        raise InvalidValue("body", f"more than {MAX_BODY} bytes", f"JSON of at most {MAX_BODY} bytes")
    raw = path.read_bytes()
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidValue("body", raw[:60].decode(errors="replace"), 'a JSON object such as {"prompt": "a red car"}')
    return values


async def _finish(tickets: list[Ticket], http: HttpRequest) -> list[Done]:
    """Waits for all pictures or the first error. Cancels the request if the client disconnects."""

    async def ends() -> list[Done]:
        results: dict[int, Done] = {}
        async with aclosing(follow_each(tickets)) as events:
            async for place, event in events:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Done):
                    results[place] = event
        return [results[place] for place in range(len(tickets))]

    def cancel() -> None:
        for ticket in tickets:
            ticket.cancel()

    work = asyncio.create_task(ends())
    try:
        while not (await asyncio.wait({work}, timeout=AWAY_SECONDS))[0]:
            if await http.is_disconnected():
                cancel()
        return work.result()
    finally:
        cancel()
        work.cancel()


def _encoded(done: list[Done]) -> bytes:
    return png.encode(done[0].image, done[0].info)


def _zipped(done: list[Done]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored, since PNGs are already compressed
        for result in done:
            archive.writestr(f"{result.info['seed']}.png", png.encode(result.image, result.info))
    return out.getvalue()
