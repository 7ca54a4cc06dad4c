"""``POST /edit-metadata``: takes a form with a .tflite and changes, and returns the file with the new metadata.

``curl -F file=@model.tflite -F 'changes={"author": "Ada", "labels": ["cat", "dog"]}' …/edit-metadata -o new.tflite``.
"""

from __future__ import annotations

import json
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask

from lib.errors import Cancelled, InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Result
from web import form as forms
from web.body import receive
from web.errors import as_response
from web.follow_job import follow_job
from web.openapi import alias, body, file, form, part, route

from .bench import Bench
from .page_metadata import stem
from .subject import Subject

ALLOWED = 'an object as JSON, as in {"author": "Ada", "labels": ["cat", "dog"]}'
EXAMPLE = '-F file=@model.tflite -F \'changes={"author": "Ada"}\''
NO_FORM = f"Send a form: curl {EXAMPLE} …"


def routes(bench: Bench, max_file_mb: int) -> list[APIRoute]:
    async def edit_metadata(http: Request) -> Response:
        """Write labels, normalization, name, author or licence into a copy of a TensorFlow Lite file."""
        folder, handed_over = Path(bench.folders.new()), False
        try:
            if unknown := sorted(http.query_params):
                raise InvalidValue("query", unknown[0], "none; send the changes in the form")
            path = folder / "body"
            await receive(http, path, max_file_mb)
            kind = http.headers.get("content-type")
            if not forms.is_form(kind):
                raise InvalidFile(NO_FORM)
            files, fields = await forms.read(path, str(kind), folder, EXAMPLE)
            upload, changes = _one(files), _changes(fields)
            target = folder / f"{stem(upload[1])}.tflite"
            job = bench.edit(Subject(str(upload[0]), upload[1]), changes, str(target), "")
            async with aclosing(follow_job(job)) as events:
                async for event in events:
                    if isinstance(event, Result):
                        handed_over = True
                        cleanup = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
                        media_type = "application/octet-stream"
                        return FileResponse(target, media_type=media_type, filename=target.name, background=cleanup)
                    if await http.is_disconnected():
                        raise Cancelled()
            raise AssertionError("a job ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)
        finally:
            if not handed_over:
                shutil.rmtree(folder, ignore_errors=True)

    fields = {
        "file": part("The .tflite file."),
        "changes": {"type": "string", "description": f"New values by name, {ALLOWED}. Other values stay as they are."},
    }
    body_text = f"The file, at most {max_file_mb} MB, and the changes to its metadata."
    answer, errors = file("The file with the new metadata."), (413, 422, 429, 500)
    openapi: dict[str, Any] = {"method": "POST", "body": body(body_text, form(**fields)), "answer": answer, "errors": errors}
    metadata_route = route("/edit-metadata", edit_metadata, **openapi)
    return [metadata_route, alias("/edit_metadata", metadata_route)]


def _one(files: dict[str, list[tuple[Path, str]]]) -> tuple[Path, str]:
    uploads = [upload for name in ("file", "model") for upload in files.pop(name, [])]
    if files:
        raise InvalidValue("field", sorted(files)[0], "file")
    if len(uploads) != 1:
        raise InvalidFile(f"The form has {len(uploads)} files. Send exactly one. {NO_FORM}")
    return uploads[0]


def _changes(fields: dict[str, str]) -> dict[str, Any]:
    if unknown := sorted(fields.keys() - {"changes"}):
        raise InvalidValue("field", unknown[0], "changes")
    try:
        changes = json.loads(fields.get("changes", ""))
    except (ValueError, RecursionError):
        changes = None
    if not isinstance(changes, dict):
        raise InvalidValue("changes", fields.get("changes", ""), ALLOWED)
    return changes
