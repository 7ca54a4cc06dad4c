"""``POST /classify?run=…``, ``POST /classify/{id}/truth`` and ``GET /monitor?run=…``: serve and monitor a run."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.train.classification import Unreadable
from lib.train.network_cache import PYTORCH, RUNTIMES
from lib.train.schema import to_json
from lib.train.trainer import Trainer
from web import form as forms
from web.body import receive
from web.errors import as_response
from web.openapi import body, file, form, json_body, part, path_parameter, query, record, route

MAX_MB = 64  # size limit of a picture
MAX_TRUTH_MB = 1
EXPECTED = 'an object such as {"label": "cat"}'
RUN = "The id of a run, from the Python API's /train or GET /runs."
PICTURE = "Send a picture: curl --data-binary @picture.jpg …, or curl -F file=@picture.jpg …"


def routes(trainer: Trainer) -> list[APIRoute]:
    async def classify(http: Request) -> Response:
        """Classify a picture: id, label, score, milliseconds, and scores by class. Query: run, runtime.

        The first request loads the network; loading_ms says how long that took, and is absent otherwise.
        The run keeps statistics (GET /monitor), never the picture. Send the true label later with the id.
        """
        try:
            arguments = queried(http, {"run", "runtime"})
            found = await asyncio.to_thread(trainer.find, arguments.get("run", ""))
            with tempfile.TemporaryDirectory(prefix="workbench-picture-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "picture"
                if not await receive(http, path, MAX_MB):
                    raise InvalidFile(f"The body is empty. {PICTURE}")
                kind = http.headers.get("content-type")
                if forms.is_form(kind):
                    path = _one(*await forms.read(path, str(kind), Path(folder), "-F file=@cat.jpg"))
                runtime = arguments.get("runtime", PYTORCH)
                (answer,) = await asyncio.to_thread(trainer.monitoring.classify, found, [path], runtime)
            if isinstance(answer, Unreadable):
                raise InvalidFile(answer.error)
            return JSONResponse(to_json(answer))
        except WorkbenchError as error:
            return as_response(error)

    async def truth(http: Request) -> Response:
        """Send the true label of a classified picture, as JSON. If it is sent again, the last one counts."""
        try:
            queried(http, set())
            label = await _label(http)
            found = await asyncio.to_thread(trainer.monitoring.set_label, http.path_params["id"], label)
            return JSONResponse(to_json(found))
        except WorkbenchError as error:
            return as_response(error)

    async def monitor(http: Request) -> Response:
        """Statistics of a served run: requests, latency, confidence, accuracy on known labels, drift, and a proposal."""
        try:
            arguments = queried(http, {"run"})
            found = await asyncio.to_thread(trainer.find, arguments.get("run", ""))
            return JSONResponse(to_json(await asyncio.to_thread(trainer.monitor, found)))
        except WorkbenchError as error:
            return as_response(error)

    scores = {"type": "object", "additionalProperties": {"type": "number"}}
    row = record(label="string", score="number", scores=scores, milliseconds="number")
    row["properties"]["loading_ms"] = {"type": "number", "description": "Only if the network had to be loaded first."}
    row["properties"]["file"] = {"type": "string", "description": "The exported file that the runtime ran."}
    row["properties"]["id"] = {"type": "string", "description": "For POST /classify/{id}/truth."}
    text = "pytorch is the framework that trained the run. The others run an exported file."
    return [
        route(
            "/classify",
            classify,
            method="POST",
            parameters=[query("run", RUN, required=True), query("runtime", text, enum=list(RUNTIMES), default=PYTORCH)],
            body=body(f"The picture, at most {MAX_MB} MB.", file(), form(file=part("The picture."))),
            answer=row,
            errors=(404, 413, 422, 429, 500),
        ),
        route(
            "/classify/{id}/truth",
            truth,
            method="POST",
            parameters=[path_parameter("id", "The id from POST /classify.")],
            body=body("The true label.", json_body(record(label="string"))),
            answer=record(id="string", label="string", truth="string", right="boolean"),
            errors=(404, 413, 422, 429, 500),
        ),
        route(
            "/monitor",
            monitor,
            parameters=[query("run", RUN, required=True)],
            answer=record(requests="integer", latency="object", confidence="object", accuracy="object", drift="object"),
            errors=(404, 422, 500),
        ),
    ]


def _one(files: dict[str, list[tuple[Path, str]]], fields: dict[str, str]) -> Path:
    """Return the only file of a form, whatever its field is called. Raises InvalidValue or InvalidFile."""
    if fields:
        raise InvalidValue("field", sorted(fields)[0], "one file; run and runtime go in the address")
    paths = [path for entries in files.values() for path, _ in entries]
    if len(paths) != 1:
        raise InvalidFile(f"The form has {len(paths)} files. Send exactly one. {PICTURE}")
    return paths[0]


async def _label(http: Request) -> Any:
    """Return the label in the JSON body. Raises InvalidValue or InvalidFile if there is none, and as ``receive`` does."""
    with tempfile.TemporaryDirectory(prefix="workbench-truth-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "truth"
        await receive(http, path, MAX_TRUTH_MB)
        content = await asyncio.to_thread(path.read_bytes)
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidValue("body", content[:60].decode(errors="replace"), EXPECTED) from None
    if not isinstance(message, dict):
        raise InvalidValue("body", message if isinstance(message, str | int | float) else type(message).__name__, EXPECTED)
    if "label" not in message:
        raise InvalidFile('label is missing; send {"label": "cat"}.')
    if unknown := sorted(message.keys() - {"label"}):
        raise InvalidValue("field", unknown[0], "label")
    return message["label"]


def queried(http: Request, known: set[str]) -> dict[str, Any]:
    """Return the query parameters. Raises InvalidValue for a name that is not in ``known``."""
    arguments = dict(http.query_params)
    if unknown := arguments.keys() - known:
        raise InvalidValue("query", sorted(unknown)[0], ", ".join(sorted(known)) or "nothing")
    return arguments
