"""Serve a run's files under its unguessable id: the record, the weights and the exports."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from lib.errors import WorkbenchError
from lib.train.edge import export_store
from lib.train.edge.export_row import ExportRow
from lib.train.runs import Run
from lib.train.trainer import Trainer
from lib.train.training import BEST
from web import handover
from web.errors import as_response
from web.folders import plain

RECORD = "record.json"
PLACE = "train/files"


def address(run: str) -> str:
    """Returns the URL of a run's files, to which a file name is appended. Relative, as the page may be behind a prefix."""
    return f"./{PLACE}/{run}/"


def rows(run: Run) -> list[ExportRow]:
    """Returns the rows of the run's exports, in the order of the targets."""
    return list(export_store.rows(run).values())


def stamps(run: Run) -> str:
    """Returns a string that changes whenever the run's exports do."""
    return str([(name, row.verdict, row.sha256) for name, row in export_store.rows(run).items()])


def file_of(run: Run, target: str) -> str:
    """Returns the name of the file exported for ``target``, or "" if there is none."""
    path = export_store.path(run, target)
    return path.name if path else ""


def saved(run: str, name: str) -> str:
    """Returns the name under which a browser saves an exported file: the run's name replaces "model"."""
    return name.replace("model", run[16:-17], 1)


def made(run: Run, name: str) -> Path | None:
    """Returns the path of an exported file by its name, or None."""
    export = next((row for row in export_store.rows(run).values() if row.file and row.file == name), None)
    return export_store.path(run, export.target) if export else None


def samples_of(trainer: Trainer, run: Run) -> list[str]:
    """Write the run's validation and test pictures, with the preprocessing that an exported file expects.

    Returns the paths to hand over (see ``web/handover.py``). Blocks until a child process has written them into the run's
    folder. Raises WorkbenchError.
    """
    folder = run.folder / "handover"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    report = trainer.samples(run, folder).result()
    preprocessing = folder / handover.PREPROCESSING
    preprocessing.write_text(json.dumps(report["preprocessing"] | {"layout": "NHWC"}))  # as in files of lib/train/edge
    path = plain(folder, handover.SAMPLES)
    return [path, str(preprocessing)] if path else []


def routes(trainer: Trainer) -> list[APIRoute]:
    async def file(http: Request) -> Response:
        id, name = http.path_params["run"], http.path_params["name"]
        try:
            run = await asyncio.to_thread(trainer.find, id)
            if name == RECORD:
                record = json.dumps(await asyncio.to_thread(run.read), indent=1)
                headers = {"Content-Disposition": f'attachment; filename="{id}.json"'}
                return Response(record, media_type="application/json", headers=headers)
        except WorkbenchError as error:
            return as_response(error)
        path = run.folder / name if name == BEST else await asyncio.to_thread(made, run, name)
        if path is None or not path.is_file() or path.is_symlink():
            return JSONResponse({"error": f"This run has no file {name[:80]!r}."}, status_code=404)
        filename = f"{id}{path.suffix}" if name == BEST else saved(id, name)
        return FileResponse(path, filename=filename, media_type="application/octet-stream")

    return [APIRoute(f"/{PLACE}/{{run}}/{{name}}", file, methods=["GET"], include_in_schema=False)]
