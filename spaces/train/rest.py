"""``GET /runs`` and ``GET /runs/{run}``: run records as JSON."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib.errors import InvalidValue, WorkbenchError
from lib.train.trainer import Trainer
from web.errors import as_response
from web.openapi import path_parameter, query, record, route, rows

from .api import checked_key
from .rest_watch import queried

RUN = "The id of a run, from the Python API's /train or GET /runs."

ALLOWED = "the key that you gave to the Python API's /train (not needed with TRAIN_SHARED=1)"
KEY = "The key that you gave to the Python API's /train as visitor. Not needed with TRAIN_SHARED=1."


def routes(trainer: Trainer) -> list[APIRoute]:
    async def runs(http: Request) -> Response:
        """List your runs, newest first. Query: visitor, the key that you gave to the Python API's /train (not needed with
        TRAIN_SHARED=1)."""
        try:
            visitor = queried(http, {"visitor"}).get("visitor", "")
            if not visitor and not trainer.settings.train_shared:
                raise InvalidValue("visitor", "", ALLOWED)
            owner = trainer.visitors.owner(checked_key(visitor) if visitor else "")
            return JSONResponse(await asyncio.to_thread(trainer.runs(owner).list))
        except WorkbenchError as error:
            return as_response(error)

    async def run(http: Request) -> Response:
        """The complete record of one run."""
        try:
            return JSONResponse(await asyncio.to_thread(lambda: trainer.find(http.path_params["run"]).read()))
        except WorkbenchError as error:
            return as_response(error)

    return [
        route(
            "/runs",
            runs,
            parameters=[query("visitor", KEY, minLength=16)],
            answer=rows(record(id="string", status="string")),
            errors=(422,),
        ),
        route(
            "/runs/{run}",
            run,
            parameters=[path_parameter("run", RUN)],
            answer=record(id="string", status="string"),
            errors=(404, 422),
        ),
    ]
