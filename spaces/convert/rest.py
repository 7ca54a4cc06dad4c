"""``POST /convert`` (the model's file as the body, a zip out) and ``GET /conversions``.

For a model of several files, and for options that are files, the Gradio API takes several.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import aclosing
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask

from lib.convert.convert import Converter, Source
from lib.errors import Cancelled, InvalidValue, WorkbenchError
from lib.jobs import Result
from web.body import receive
from web.errors import as_response
from web.folders import Folders
from web.follow_job import follow_job

from .subject import Outcome, from_query, specs


def routes(converter: Converter, folders: Folders, max_file_mb: int) -> list[APIRoute]:
    async def convert(http: Request) -> Response:
        """Query: target; source (a name), name (of the file in the body), seeds, anyway, and the route's options.

        200: the package, a zip of the model with report.json and README.md, and X-Verdict. 422: the file is withheld,
        with the report; or ``{"error": …}`` for what cannot be converted at all.
        """
        query, folder, handed = dict(http.query_params), folders.new(), False
        try:
            target, name = query.pop("target", ""), query.pop("source", "")
            called = re.sub(r"[/\\\x00-\x1f]", "_", query.pop("name", "") or "model")[:200]
            if not target:
                raise InvalidValue("target", target, "a format from /conversions, such as onnx")
            options = from_query(query, specs(await asyncio.to_thread(converter.conversions)))
            body = Path(folder) / "body"
            files = {called: body} if await receive(http, body, max_file_mb) else {}
            out = Path(folder) / "out"
            out.mkdir()
            async with aclosing(follow_job(converter.convert(Source(files, name), target, options, out))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        outcome = Outcome.of(folder, event.value)
                        handed = outcome.package is not None
                        return _answer(outcome)
                    if await http.is_disconnected():
                        raise Cancelled()
            raise AssertionError("work ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)
        finally:
            if not handed:
                shutil.rmtree(folder, ignore_errors=True)

    async def conversions() -> Response:
        """Everything this installation can convert, and what cannot run here, with the reason."""
        return JSONResponse(await asyncio.to_thread(converter.conversions))

    return [
        APIRoute("/convert", convert, methods=["POST"], response_class=Response),
        APIRoute("/conversions", conversions, methods=["GET"], response_class=JSONResponse),
    ]


def _answer(outcome: Outcome) -> Response:
    report = outcome.report
    headers = {"X-Verdict": report["verdict"]}
    if outcome.package is None:
        why = f"The result is {report['verdict']} and the file withheld (anyway=1 hands it out): {report.get('reason', '')}"
        return JSONResponse({"error": why, "report": report}, status_code=422, headers=headers)
    path = Path(outcome.package)
    after = BackgroundTask(outcome.close)  # when the last byte is out, or the client has gone
    return FileResponse(path, media_type="application/zip", filename=path.name, headers=headers, background=after)
