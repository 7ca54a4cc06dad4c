"""Routes with OpenAPI descriptions, for ``GET /docs`` and ``/openapi.json`` (tested in tests/spaces/test_openapi.py).

    route("/classify", classify, method="POST", parameters=[query("run", "A run's id.", required=True)],
          body=body("The picture.", file()), answer=record(label="string", score="number"), errors=(404, 413, 422))

Schemas are JSON Schema as dicts. Independent of the tabs. ``web/errors.py`` creates the error responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.responses import Response

Schema = dict[str, Any]

WORDS = {
    401: "The token is missing or wrong.",
    404: "Not found. It may have been deleted.",
    408: "The request body arrived too slowly. Nothing was started.",
    413: "The file is too large, or processing it exceeded a limit of memory or time.",
    422: "A parameter or the file is not valid. Nothing was started.",
    429: "The queue is full. Try again after Retry-After seconds.",
    500: "A tool, a model or a child process failed on this request.",
    503: "No model is loaded yet, or the app is shutting down. Try again after Retry-After seconds.",
}
HEADERS = {
    "X-Request-Id": {
        "description": "The request's id in the log: the one you sent, or a new one.",
        "schema": {"type": "string"},
    }
}
LATER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}


class Failure(BaseModel):
    """Every error has this shape."""

    error: str = Field(description="What was given, what is allowed, what to do.")


def route(
    path: str,
    endpoint: Callable[..., Any],
    *,
    method: str = "GET",
    parameters: Iterable[Schema] = (),
    body: Schema | None = None,
    answer: Schema,
    errors: Iterable[int] = (),
    also: dict[int, Schema] | None = None,
) -> APIRoute:
    """Returns a route with its OpenAPI description.

    ``answer`` is the schema of the JSON of a 200 response, or ``file(…)``. ``also`` maps other statuses to schemas, if
    their JSON is more than a ``Failure``. The description is the endpoint's docstring; its first sentence becomes the
    summary.
    """
    statuses = set(errors)
    responses: dict[int | str, dict[str, Any]] = {200: _answer("Done.", answer)}
    for status in sorted(statuses | ({408} if body and 413 in statuses else set())):  # uploads may time out
        retry = LATER if status in (429, 503) else {}
        responses[status] = {"description": WORDS[status], "model": Failure, "headers": HEADERS | retry}
    responses |= {status: _answer(WORDS.get(status, ""), schema) for status, schema in (also or {}).items()}
    extra: Schema = {"parameters": list(parameters)} | ({"requestBody": body} if body else {})
    return APIRoute(
        path,
        endpoint,
        methods=[method],
        operation_id="_".join((method.lower(), *path.strip("/").translate(_PLAIN).split("/"))),
        summary=(endpoint.__doc__ or "").strip().split("\n")[0].split(". ")[0].rstrip(".").replace("``", ""),
        response_class=Response if "content" in answer else JSONResponse,
        response_description="Done.",
        responses=responses,
        openapi_extra={name: value for name, value in extra.items() if value},
    )


def alias(path: str, now: APIRoute) -> APIRoute:
    """Returns the same route at its former path, which keeps working but is not listed in the docs."""
    return APIRoute(path, now.endpoint, methods=sorted(now.methods or ()), include_in_schema=False)


def query(name: str, words: str, kind: str = "string", *, required: bool = False, **schema: Any) -> Schema:
    """A query parameter. ``schema`` contains further keywords: ``enum``, ``default``, ``minimum``, ..."""
    return {"name": name, "in": "query", "required": required, "description": words, "schema": {"type": kind} | schema}


def path_parameter(name: str, words: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": words, "schema": {"type": "string"}}


def any_query(name: str, words: str) -> Schema:
    """Query parameters with arbitrary names."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return {"name": name, "in": "query", "description": words, "style": "form", "explode": True, "schema": schema}


def record(words: str = "", /, **kinds: str | Schema) -> Schema:
    """An object with at least these properties, given by type name (``string?`` is nullable) or schema."""
    props = {name: {"type": _kind(kind)} if isinstance(kind, str) else kind for name, kind in kinds.items()}
    return {"type": "object", "properties": props, "required": list(props)} | ({"description": words} if words else {})


def rows(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def file(words: str = "", kind: str = "application/octet-stream") -> Schema:
    """Binary data, as a request or response body."""
    schema = {"type": "string", "format": "binary"} | ({"description": words} if words else {})
    return {"content": {kind: {"schema": schema}}}


def form(**fields: Schema) -> Schema:
    """A multipart body, as sent by ``curl -F``."""
    return {"content": {"multipart/form-data": {"schema": {"type": "object", "properties": fields}}}}


def json_body(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


def body(words: str, *ways: Schema, required: bool = True) -> Schema:
    """A request body with one or more content types."""
    return {"description": words, "required": required, "content": {k: v for way in ways for k, v in way["content"].items()}}


def part(words: str, *, many: bool = False) -> Schema:
    """A file in a multipart form."""
    binary = {"type": "string", "format": "binary"}
    return {"description": words} | (rows(binary) if many else binary)


def headers(**words: str) -> Schema:
    """Response headers: ``answer=file(…) | headers(X_Seed="…")``."""
    specs = {name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in words.items()}
    return {"headers": specs}


_PLAIN = str.maketrans("-", "_", "{}")


def _answer(words: str, schema: Schema) -> dict[str, Any]:
    response = schema if "content" in schema else json_body(schema)
    return {"description": words, "content": response["content"], "headers": HEADERS | schema.get("headers", {})}


def _kind(name: str) -> str | list[str]:
    return [name[:-1], "null"] if name.endswith("?") else name
