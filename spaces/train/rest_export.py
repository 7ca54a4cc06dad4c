"""``POST /export-classifier`` exports a run; ``GET …/{run}`` lists its exports, ``GET …/{run}/{target}`` sends a file."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute

from lib.errors import Cancelled, InvalidFile, InvalidValue, NotFound, WorkbenchError
from lib.jobs import Result
from lib.train.edge.export import Exporter
from lib.train.edge.export_row import PROVEN, WITHHELD
from lib.train.edge.targets import TARGETS, find
from lib.train.trainer import Trainer
from web.body import receive
from web.errors import as_response
from web.follow_job import follow_job
from web.openapi import alias, body, json_body, path_parameter, record, route
from web.openapi import file as binary

from .rest_watch import RUN, queried

DOOR, OLDER = "export-classifier", "export_classifier"
MAX_MB = 1  # size limit of the JSON body
FIELDS = ("run", "target")


def address(run: str, target: str) -> str:
    """Return the URL of an exported file. Relative, as the page may be behind a prefix."""
    return f"./{DOOR}/{run}/{target}"


def routes(trainer: Trainer, exporter: Exporter) -> list[APIRoute]:
    async def export_classifier(http: Request) -> Response:
        """Export a run as a file for phones and browsers.

        JSON: run, the id of a run that has ended; target: onnx, tflite, tflite-fp16 or tflite-int8.

        200: ``file``, the address of the file, and ``report``. 422: the file is withheld, with the report, or
        ``{"error": …}`` if nothing can be exported.
        """
        try:
            queried(http, set())
            request_schema = await _received(http)
            run = await asyncio.to_thread(trainer.find, request_schema["run"])
            target = request_schema["target"]
            async with aclosing(follow_job(exporter.export(run, target))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        return _answer(run.id, target, event.value)
                    if await http.is_disconnected():
                        raise Cancelled()
            raise AssertionError("work ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)

    async def exports(http: Request) -> Response:
        """List the exports of a run, by target."""
        try:
            queried(http, set())
            run = await asyncio.to_thread(trainer.find, http.path_params["run"])
            rows = await asyncio.to_thread(exporter.rows, run)
            return JSONResponse({name: row.as_dict() for name, row in rows.items()})
        except WorkbenchError as error:
            return as_response(error)

    async def file(http: Request) -> Response:
        """Download an exported file. 404 if it was not exported yet or is withheld."""
        try:
            queried(http, set())
            target = find(http.path_params["target"])
            run = await asyncio.to_thread(trainer.find, http.path_params["run"])
            path = await asyncio.to_thread(exporter.file, run, target.name)
            if path is None:
                raise NotFound(f"This run has no file for {target.name} (yet). POST /{DOOR} to make it.")
            return FileResponse(path, filename=f"{run.id}-{target.file}", media_type="application/octet-stream")
        except WorkbenchError as error:
            return as_response(error)

    row = record(
        "accuracy with its interval, same_label, megabytes, milliseconds …",
        target="string",
        verdict={"type": "string", "enum": [PROVEN, WITHHELD]},
        why="string",
    )
    export_answer = record(run="string", target="string", file="string", report=row)
    where, which = path_parameter("run", RUN), path_parameter("target", ", ".join(TARGETS))
    properties = {"run": {"type": "string", "description": RUN}}
    properties["target"] = {"type": "string", "enum": list(TARGETS), "default": "tflite"}
    request_schema = {"type": "object", "properties": properties, "required": ["run"]}
    rest_routes = [
        route(
            f"/{DOOR}",
            export_classifier,
            method="POST",
            body=body("The run and the target.", json_body(request_schema)),
            answer=export_answer,
            errors=(404, 413, 429, 500),
            also={422: record("Has a report if the file was made and is withheld.", error="string")},
        ),
        route(
            f"/{DOOR}/{{run}}",
            exports,
            parameters=[where],
            answer={"type": "object", "additionalProperties": row},
            errors=(404, 422),
        ),
        route(f"/{DOOR}/{{run}}/{{target}}", file, parameters=[where, which], answer=binary(), errors=(404, 422)),
    ]
    return rest_routes + [alias(rest_route.path.replace(DOOR, OLDER), rest_route) for rest_route in rest_routes]


def _answer(run: str, target: str, value: dict[str, Any]) -> Response:
    report = value["report"]
    if value["file"] is None:
        message = f"The file is withheld: {report['why']}"
        return JSONResponse({"error": message, "run": run, "target": target, "report": report}, status_code=422)
    return JSONResponse({"run": run, "target": target, "file": address(run, target), "report": report})


async def _received(http: Request) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="workbench-export-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "body"
        await receive(http, path, MAX_MB)
        try:
            fields = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            fields = None
    if not isinstance(fields, dict):
        raise InvalidFile('Send JSON as the body: {"run": "…", "target": "tflite"}.')
    if unknown := sorted(fields.keys() - set(FIELDS)):
        raise InvalidValue("field", unknown[0], ", ".join(FIELDS))
    values = {"target": "tflite"} | fields
    for name in FIELDS:
        if not isinstance(values.get(name), str):
            raise InvalidValue(name, values.get(name), "a string")
    find(values["target"])
    return values
