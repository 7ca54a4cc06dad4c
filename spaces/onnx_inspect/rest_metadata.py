"""``POST /edit-metadata``: a .tflite and what is to change in a form, the file with these metadata back.

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
        folder, handed = Path(bench.folders.new()), False
        try:
            if odd := sorted(http.query_params):
                raise InvalidValue("query", odd[0], "none; send the changes in the form")
            path = folder / "body"
            await receive(http, path, max_file_mb)
            kind = http.headers.get("content-type")
            if not forms.is_form(kind):
                raise InvalidFile(NO_FORM)
            files, fields = await forms.read(path, str(kind), folder, EXAMPLE)
            sent, changes = _one(files), _changes(fields)
            target = folder / f"{stem(sent[1])}.tflite"
            job = bench.edit(Subject(str(sent[0]), sent[1]), changes, str(target), "")
            async with aclosing(follow_job(job)) as events:
                async for event in events:
                    if isinstance(event, Result):
                        handed = True
                        after = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
                        media = "application/octet-stream"
                        return FileResponse(target, media_type=media, filename=target.name, background=after)
                    if await http.is_disconnected():
                        raise Cancelled()
            raise AssertionError("a job ends with a result or an error")
        except WorkbenchError as error:
            return as_response(error)
        finally:
            if not handed:
                shutil.rmtree(folder, ignore_errors=True)

    fields = {
        "file": part("The .tflite file."),
        "changes": {"type": "string", "description": f"New values by name, {ALLOWED}. Other values stay as they are."},
    }
    words = f"The file, at most {max_file_mb} MB, and the changes to its metadata."
    answer, errors = file("The file with the new metadata."), (413, 422, 429, 500)
    papers: dict[str, Any] = {"method": "POST", "body": body(words, form(**fields)), "answer": answer, "errors": errors}
    now = route("/edit-metadata", edit_metadata, **papers)
    return [now, alias("/edit_metadata", now)]


def _one(files: dict[str, list[tuple[Path, str]]]) -> tuple[Path, str]:
    found = [one for name in ("file", "model") for one in files.pop(name, [])]
    if files:
        raise InvalidValue("field", sorted(files)[0], "file")
    if len(found) != 1:
        raise InvalidFile(f"The form has {len(found)} files. Send exactly one. {NO_FORM}")
    return found[0]


def _changes(fields: dict[str, str]) -> dict[str, Any]:
    if odd := sorted(fields.keys() - {"changes"}):
        raise InvalidValue("field", odd[0], "changes")
    try:
        found = json.loads(fields.get("changes", ""))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidValue("changes", fields.get("changes", ""), ALLOWED)
    return found
