"""Gradio API endpoints and MCP tools: inspect_onnx, run_onnx, weights_onnx, show_onnx, build_onnx, compare_onnx.

Each endpoint is a generator, so that a job stops when its client disconnects. It yields dicts with ``progress`` before the
answer.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from lib.errors import InvalidFile, WorkbenchError
from lib.jobs import Job, Result
from lib.tflite_inspect.report import shortened
from web.errors import as_gradio
from web.follow_job import follow_job
from web.schemas import inline

from .bench import Bench
from .subject import RUNS, parse_samples, parse_sizes, parse_values, tolerance, uploaded, whole_number

Answers = AsyncIterator[dict[str, Any]]


async def _answer(job: Job) -> Answers:
    async with aclosing(follow_job(job)) as events:
        async for event in events:
            yield shortened(event.value) if isinstance(event, Result) else {"progress": event.stage}


def build(bench: Bench) -> None:
    """Add the endpoints. Hidden components define the names, types and defaults of their parameters."""

    async def inspect_onnx(file: str, external_data: list[str] | None = None, symbols: str = "", sizes: str = "") -> Answers:
        """Look inside an ONNX or TensorFlow Lite model: validity, problems, inputs, outputs, operators, MACs, memory, nodes.

        Args:
            file: The .onnx or .tflite file, recognized by its content; of a MediaPipe bundle (.task), its largest model.
            external_data: The model's external data files, if any.
            symbols: Older name of sizes.
            sizes: Sizes of dynamic dimensions, e.g. "batch=8, sequence=128". The report names those of the others.

        Returns:
            The report. format is onnx or tflite; valid says whether onnx or LiteRT accepts the model; problems lists
            errors, warnings and notes. metadata of a .tflite has the first 1,000 labels and labels_count.
        """
        try:
            async for answer in _answer(bench.inspect(uploaded(file, external_data), parse_sizes(sizes, symbols))):
                yield answer
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def run_onnx(
        file: str,
        inputs: str | None = None,
        seed: float = 0,
        runs: float = RUNS,
        external_data: list[str] | None = None,
        symbols: str = "",
        values: str = "",
        sizes: str = "",
        samples: str | None = None,
        preprocessing: str = "",
    ) -> Answers:
        """Run a model: ONNX in onnxruntime and the reference evaluator, .tflite in LiteRT twice. Compare, time and profile.

        Args:
            file: The .onnx or .tflite file.
            inputs: An .npz file with one whole array per input. Without inputs, random ones are generated.
            seed: Seed of the random inputs, 0 or more.
            runs: Number of timed runs, 1 to 1000.
            external_data: The model's external data files, if any.
            symbols: Older name of sizes.
            values: Instead of an .npz, the inputs as JSON: {"X": [[1, 2, 3, 4]]}.
            sizes: Sizes of dynamic dimensions, e.g. "batch=8". The answer names the sizes chosen for the others.
            samples: Real inputs: .npz or .npy (first axis: samples), a picture, a zip of pictures, .wav, .txt. One is run.
            preprocessing: How pictures become the input, where the guess is wrong: "size=224, normalization=imagenet".

        Returns:
            Inputs, outputs, differences between the two runtimes, latency percentiles and time per node. samples and
            sizes_note say what was guessed.
        """
        try:
            subject = uploaded(file, external_data)
            numbers = whole_number("seed", seed, 0), whole_number("runs", runs, RUNS)
            typed, known = parse_values(values, inputs), parse_sizes(sizes, symbols)
            real = parse_samples(samples, Path(samples or "").name, preprocessing, inputs, typed)
            job = bench.run(subject, inputs, *numbers, known, typed, real)
            async for answer in _answer(job):
                yield answer
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def weights_onnx(file: str, tensor: str, external_data: list[str] | None = None) -> Answers:
        """Range, sparsity and histogram of one weight of an ONNX or TensorFlow Lite model.

        Args:
            file: The .onnx or .tflite file.
            tensor: The name of the initializer or tensor.
            external_data: The model's external data files, if any.

        Returns:
            minimum, maximum, mean, std, zeros, nan, infinite, histogram and the first values.
        """
        try:
            async for answer in _answer(bench.weights(uploaded(file, external_data), tensor)):
                yield answer
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def show_onnx(file: str, external_data: list[str] | None = None) -> Answers:
        """Show a small ONNX model as ONNX text.

        Args:
            file: The .onnx file, with at most 64 kB of weights.
            external_data: The model's external data files, if any.

        Returns:
            text: the model in the syntax of onnx.parser.
        """
        try:
            async for answer in _answer(bench.show(uploaded(file, external_data))):
                yield answer
        except WorkbenchError as error:
            raise as_gradio(error) from None

    async def build_onnx(text: str) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """Make an ONNX model from ONNX text.

        Args:
            text: A model in the syntax of onnx.parser.

        Returns:
            The .onnx file, and the report of inspect_onnx about it.
        """
        folder = bench.folders.new()
        try:
            async with aclosing(follow_job(bench.build(text, folder))) as events:
                async for event in events:
                    if isinstance(event, Result):
                        yield str(Path(folder) / "model.onnx"), event.value  # gradio copies it to its own cache
                    else:
                        yield None, {"progress": event.stage}
        except WorkbenchError as error:
            raise as_gradio(error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def compare_onnx(
        old: str,
        new: str,
        rtol: float = 0,
        atol: float = 0,
        old_external_data: list[str] | None = None,
        new_external_data: list[str] | None = None,
    ) -> Answers:
        """Compare two ONNX models: what was added, removed, renamed and changed.

        Args:
            old: The .onnx file before.
            new: The .onnx file after.
            rtol: Relative tolerance for equal initializers.
            atol: Absolute tolerance for equal initializers.
            old_external_data: The old model's external data files, if any.
            new_external_data: The new model's external data files, if any.

        Returns:
            same, counts by kind, and rows of kind, change, name, before, after.
        """
        try:
            if not old or not new:
                raise InvalidFile("Send two files: the model before and the model after.")
            numbers = tolerance("rtol", rtol), tolerance("atol", atol)
            pair = uploaded(old, old_external_data), uploaded(new, new_external_data)
            async for answer in _answer(bench.compare(*pair, *numbers)):
                yield answer
        except WorkbenchError as error:
            raise as_gradio(error) from None

    with gr.Row(visible=False):
        file, beside = gr.File(label="file"), gr.File(label="external_data", file_count="multiple")
        symbols, report = gr.Textbox("", label="symbols"), gr.JSON(label="report")
        sizes, preprocessing = gr.Textbox("", label="sizes"), gr.Textbox("", label="preprocessing")
        samples = gr.File(label="samples")
        inputs, seed, runs = gr.File(label="inputs"), gr.Number(0, label="seed"), gr.Number(RUNS, label="runs")
        values = gr.Textbox("", label="values")
        tensor, text = gr.Textbox(label="tensor"), gr.Textbox(label="text")
        old, new = gr.File(label="old"), gr.File(label="new")
        old_beside = gr.File(label="old_external_data", file_count="multiple")
        new_beside = gr.File(label="new_external_data", file_count="multiple")
        for component in (file, beside, samples, inputs, old, new, old_beside, new_beside):
            inline(component)
        rtol, atol = gr.Number(0.0, label="rtol"), gr.Number(0.0, label="atol")
        result, model = gr.JSON(label="result"), gr.File(label="model")
        table = (
            (inspect_onnx, [file, beside, symbols, sizes], report),
            (run_onnx, [file, inputs, seed, runs, beside, symbols, values, sizes, samples, preprocessing], result),
            (weights_onnx, [file, tensor, beside], result),
            (show_onnx, [file, beside], result),
            (build_onnx, [text], [model, report]),
            (compare_onnx, [old, new, rtol, atol, old_beside, new_beside], result),
        )
        for function, components, answers in table:
            gr.Button(function.__name__).click(
                function, components, answers, api_name=function.__name__, concurrency_limit=None, show_progress="hidden"
            )
