"""``POST`` and ``GET /text-to-image``: JSON or a query string in, a PNG out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import Request as HttpRequest
from fastapi import Response
from fastapi.routing import APIRoute

from lib.errors import InvalidValue, ModelUnavailable, WorkbenchError
from lib.text_to_image import png
from lib.text_to_image.engine import Engine
from lib.text_to_image.events import Done
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket
from web.errors import as_response
from web.follow import follow

MAX_BODY = 64 * 1024
AWAY_SECONDS = 0.25


def routes(engine: Engine) -> list[APIRoute]:
    async def text_to_image(http: HttpRequest) -> Response:
        """One picture. Parameters: prompt and, optionally, negative_prompt, steps, guidance_scale,
        seed, width, height, scheduler, model."""
        try:
            request = Request.parse(await _values(http))
            if not engine.ready:
                raise ModelUnavailable("No model is loaded yet; GET /healthz tells how far it is.")
            owner = http.client.host if http.client else ""
            done = await _finish(engine.submit(request, owner=owner, watch=False), http)
            data = await asyncio.to_thread(png.encode, done.image, done.info)
        except WorkbenchError as error:
            return as_response(error)
        return Response(data, media_type="image/png", headers={"X-Seed": str(done.info["seed"])})

    return [APIRoute("/text-to-image", text_to_image, methods=["GET", "POST"], response_class=Response)]


async def _values(http: HttpRequest) -> dict[str, Any]:
    """The query string, then the JSON body on top of it."""
    values: dict[str, Any] = dict(http.query_params)
    body = b""
    async for chunk in http.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise InvalidValue("body", f"more than {MAX_BODY} bytes", f"JSON of at most {MAX_BODY} bytes")
    if body:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise InvalidValue("body", body[:60].decode(errors="replace"), 'a JSON object such as {"prompt": "a red car"}')
        values |= found
    return values


async def _finish(ticket: Ticket, http: HttpRequest) -> Done:
    """The picture; a client that hangs up cancels its request."""

    async def last() -> Done:
        async for event in follow(ticket):
            if isinstance(event, Done):
                return event
        raise AssertionError("a ticket ended without an end")

    work = asyncio.create_task(last())
    try:
        while not (await asyncio.wait({work}, timeout=AWAY_SECONDS))[0]:
            if await http.is_disconnected():
                ticket.cancel()
        return work.result()
    finally:
        ticket.cancel()
        work.cancel()
