"""``GET /text-to-image/tokens``: counts the tokens of a prompt, and returns the part that the model would ignore."""

from __future__ import annotations

import asyncio

from fastapi import Request as HttpRequest
from fastapi import Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import InvalidValue, WorkbenchError
from lib.text_to_image.models import Catalogue
from lib.text_to_image.prompts.count import TokenCounter
from lib.text_to_image.request import MAX_PROMPT
from web.errors import as_response
from web.openapi import query, record, route

NAMES = ("prompt", "model")


def tokens(catalogue: Catalogue) -> APIRoute:
    counter = TokenCounter(catalogue)

    async def count_tokens(http: HttpRequest) -> Response:
        """Count the tokens of a prompt (prompt, model), e.g. to check its length before sending it."""
        try:
            for name in http.query_params:
                if name not in NAMES:
                    raise InvalidValue("parameter", name, ", ".join(NAMES))
            text = http.query_params.get("prompt", "")
            if len(text) > MAX_PROMPT:
                raise InvalidValue("prompt", text, f"text of at most {MAX_PROMPT} characters")
            count = await asyncio.to_thread(counter.count, http.query_params.get("model", ""), text)
        except WorkbenchError as error:
            return as_response(error)
        return JSONResponse(count.as_dict())

    answer = record(
        tokens={"type": "integer", "description": "Of the prompt, without weights and LoRA tags."},
        room={"type": "integer", "description": "What the model reads: 75 in each chunk, or less for small encoders."},
        chunks={"type": "integer", "description": "1 if the model reads only one chunk."},
        cut={"type": "string", "description": "The beginning of what is left out, or empty."},
    )
    query_parameters = [
        query("prompt", "The text.", maxLength=MAX_PROMPT, default=""),
        query("model", "Empty: the default.", enum=["", *catalogue.names], default=""),
    ]
    return route("/text-to-image/tokens", count_tokens, parameters=query_parameters, answer=answer, errors=(422, 503))
