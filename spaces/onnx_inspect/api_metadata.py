"""Gradio API endpoint and MCP tool edit_metadata: writes changed metadata into a copy of a TensorFlow Lite file."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, InvalidValue, WorkbenchError
from lib.jobs import Result
from lib.tflite_inspect.report import first_labels
from web.errors import as_gradio
from web.follow_job import follow_job
from web.schemas import as_object, inline

from .bench import Bench
from .page_metadata import stem
from .subject import uploaded


def build(bench: Bench) -> None:
    async def edit_metadata(file: str, changes: dict[str, Any]) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """Change the metadata of a TensorFlow Lite file: labels, normalization, name, author, licence.

        Args:
            file: The .tflite file, with or without metadata.
            changes: New values by name: name, description, version, author, license (texts), labels (a list, in the order
                of the output's scores), mean and std (a number, or three). Other values stay as they are.

        Returns:
            The file with the new metadata, and all of its metadata. problems lists what other readers may reject.
        """
        folder = bench.folders.new()
        try:
            if not file:
                raise InvalidFile("No file was given. Upload a .tflite.")
            if not isinstance(changes, dict):
                raise InvalidValue("changes", changes, 'an object, as in {"author": "Ada", "labels": ["cat", "dog"]}')
            subject = uploaded(file)
            target = str(Path(folder) / f"{stem(subject.name)}.tflite")
            async with aclosing(follow_job(bench.edit(subject, changes, target, ""))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        yield target, first_labels(event.value["metadata"])  # gradio copies it to its own cache
                    else:
                        yield None, {"progress": event.stage}
        except WorkbenchError as error:
            raise as_gradio(error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    with gr.Row(visible=False):
        file, changes = gr.File(label="file"), gr.JSON(label="changes")
        model, metadata = gr.File(label="model"), gr.JSON(label="metadata")
        inline(file)
        as_object(changes, "New values by name: name, description, version, author, license, labels, mean, std")
        gr.Button("edit_metadata").click(
            edit_metadata,
            [file, changes],
            [model, metadata],
            api_name="edit_metadata",
            concurrency_limit=None,
            show_progress="hidden",
        )
