"""``POST /convert`` (the model's file or a form as the body; the answer is a zip) and ``GET /conversions``.

A form supports models of several files, samples and options that are files: ``curl -F model=@m.onnx -F samples=@x.zip``.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask

from lib.convert.formats import FORMATS
from lib.convert.service.converter import Converter, Source
from lib.convert.service.options import LOWEST_AGREEMENT
from lib.errors import Cancelled, InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Result
from web import form as forms
from web.body import receive
from web.errors import as_response
from web.folders import Folders
from web.follow_job import follow_job
from web.openapi import any_query, body, file, form, headers, part, query, record, route, rows

from .option_values import Specs, from_query, is_file, specs
from .subject import Outcome

MODEL = ("model", "external_data")  # fields of a form
PARTS = {
    "model": part("The model's file or files.", many=True),
    "external_data": part("An ONNX model's external data files.", many=True),
    "samples": part("Real inputs: .npz, .npy, a picture, a .zip of pictures, .wav or .txt."),
}
Forms = dict[str, list[tuple[Path, str]]]


def routes(converter: Converter, folders: Folders, max_file_mb: int) -> list[APIRoute]:
    async def convert(http: Request) -> Response:
        """Convert a model and verify the result.

        Query, or fields of a form: target; source (a name), name (of the file in the body), samples, preprocessing,
        sizes, min_agreement, seeds, anyway, and the route's options.

        200: the package, a zip of the model with report.json and README.md, and X-Verdict. 422: the file is withheld,
        with the report, or ``{"error": …}`` where nothing can be converted.
        """
        folder, handed_over = Path(folders.new()), False
        try:
            known = specs(await asyncio.to_thread(converter.conversions))
            parameters, files, paths = await _received(http, folder, known, max_file_mb)
            target, name = parameters.pop("target", ""), parameters.pop("source", "")
            if not target:
                raise InvalidValue("target", target, "a format from /conversions, such as onnx")
            options = from_query(parameters, known) | paths
            target_folder = folder / "out"
            target_folder.mkdir()
            async with aclosing(
                follow_job(converter.convert(Source(files, name), target, options, target_folder))
            ) as events:
                async for event in events:
                    if isinstance(event, Result):
                        outcome = Outcome.of(str(folder), event.value)
                        handed_over = outcome.package is not None
                        return _answer(outcome)
                    if await http.is_disconnected():
                        raise Cancelled()
            raise AssertionError("work ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)
        finally:
            if not handed_over:
                shutil.rmtree(folder, ignore_errors=True)

    async def conversions() -> Response:
        """All conversions of this installation, with the reason for those that are not available."""
        return JSONResponse(await asyncio.to_thread(converter.conversions))

    row = record(source="string", target="string", tool="string", runs_here="boolean", options=rows(record(name="string")))
    withheld = record("Has a report where the file is withheld, none where nothing was started.", error="string")
    withheld["properties"]["report"] = {"type": "object"}
    return [
        route(
            "/convert",
            convert,
            method="POST",
            parameters=_parameters(),
            body=body(
                f"The model, at most {max_file_mb} MB; none for a source by name.", file(), form(**PARTS), required=False
            ),
            answer=file("The model with report.json and README.md.", "application/zip")
            | headers(X_Verdict="proven, failed, unproven."),
            errors=(413, 429, 500),
            also={422: withheld},
        ),
        route("/conversions", conversions, answer=rows(row)),
    ]


def _parameters() -> list[dict[str, Any]]:
    """Return the query parameters of /convert. A form may send them as fields."""
    return [
        query("target", "Target format, from /conversions.", required=True, enum=list(FORMATS)),
        query("source", "A model by name instead of a file, such as torchvision:mobilenet_v3_small."),
        query("name", "Name of the file in the body. Its extension may determine the format."),
        query("sizes", 'Sizes of dynamic dimensions: "batch=4, samples=512".'),
        query("seeds", 'Seeds of the random test inputs, three or more: "0, 1, 2".'),
        query("preprocessing", 'How pictures become the input, where the guess is wrong: "size=224, crop=center", or JSON.'),
        query(
            "min_agreement", "Minimum share of samples with the same answer.", "number", minimum=LOWEST_AGREEMENT, maximum=1
        ),
        query("anyway", "1: also send a file that is not proven, named .unproven.", enum=["0", "1"]),
        any_query("options", "Options of the conversion, listed by /conversions, such as opset=18."),
    ]


def _answer(outcome: Outcome) -> Response:
    report = outcome.report
    headers = {"X-Verdict": report["verdict"]}
    if outcome.package is None:
        error = f"The result is {report['verdict']}, so the file is withheld (anyway=1 sends it): {report.get('reason', '')}"
        return JSONResponse({"error": error, "report": report}, status_code=422, headers=headers)
    path = Path(outcome.package)
    cleanup = BackgroundTask(outcome.close)  # runs after the last byte is sent or the client disconnected
    return FileResponse(path, media_type="application/zip", filename=path.name, headers=headers, background=cleanup)


async def _received(
    http: Request, folder: Path, known: Specs, max_file_mb: int
) -> tuple[dict[str, str], dict[str, Path], dict[str, str]]:
    """Return the query parameters and form fields, the model's files by name, and the paths of options that are files."""
    parameters, body = dict(http.query_params), folder / "body"
    name = _plain(parameters.pop("name", "") or "model")
    kind = http.headers.get("content-type")
    size = await receive(http, body, max_file_mb)
    if not forms.is_form(kind):
        return parameters, {name: body} if size else {}, {}
    home = folder / "form"
    home.mkdir()
    files, fields = await forms.read(body, str(kind), home)
    await asyncio.to_thread(body.unlink)
    return fields | parameters, _model(files), _options(files, known, home)


def _model(files: Forms) -> dict[str, Path]:
    parts = [part for field in MODEL for part in files.get(field, [])]
    files_by_name = {_plain(name): path for path, name in parts}
    if len(files_by_name) != len(parts):
        raise InvalidFile(f"{len(parts)} files were sent as the model, some with the same name. Give each a different name.")
    return files_by_name


def _options(files: Forms, known: Specs, home: Path) -> dict[str, str]:
    """Return the paths of options that are files, each stored under the sender's file name, which the report shows.

    Raises InvalidValue or InvalidFile.
    """
    paths = {}
    for field, parts in files.items():
        if field in MODEL:
            continue
        if not is_file(field, known):
            options = (name for name in known if is_file(name, known))
            raise InvalidValue("field", field, ", ".join([*MODEL, "samples", *options]))
        if len(parts) > 1:
            raise InvalidFile(f"The form has {len(parts)} files as {field}. Send one.")
        path, name = parts[0]
        subfolder = home / f"of-{len(paths)}"
        subfolder.mkdir()
        paths[field] = str(path.rename(subfolder / _plain(name)))
    return paths


def _plain(name: str) -> str:
    cleaned = re.sub(r"[/\\\x00-\x1f]", "_", name)[:200]
    return cleaned if cleaned.strip(".") else "file"
