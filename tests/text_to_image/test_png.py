from __future__ import annotations

import io
import json
import pickle
import zipfile

import pytest
from PIL import Image, PngImagePlugin

from lib.errors import InvalidValue
from lib.text_to_image import png
from lib.text_to_image.batch import Batch
from lib.text_to_image.events import Step, Stopped
from lib.text_to_image.group import describe
from lib.text_to_image.models import Model
from lib.text_to_image.request import SCHEDULERS, Request
from lib.text_to_image.ticket import Ticket


def picture_with(**chunks: str) -> bytes:
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def draw(model: Model, request: Request) -> bytes:
    batch = Batch(model)
    row = batch.join(model.resolve(request.with_seed()))
    while not batch.step():
        pass
    return png.encode(batch.decode([row])[0], describe(model, row.request, 0.1))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_picture_can_be_made_again_from_its_own_file(sd: Model, scheduler: str) -> None:
    first = draw(sd, Request(prompt="a red car, ☕", negative_prompt="blue", steps=4, scheduler=scheduler))
    second = draw(sd, png.read_request(first))
    assert Image.open(io.BytesIO(first)).tobytes() == Image.open(io.BytesIO(second)).tobytes()
    info = png.read_info(first)
    assert info["revision"] == sd.revision and info["versions"]["torch"] and info["seed"] >= 0


def test_the_parameters_chunk_follows_a1111(sd: Model) -> None:
    data = draw(
        sd, Request(prompt="a car", negative_prompt="rain", steps=3, seed=7, guidance_scale=7.5, scheduler="Euler a")
    )
    text = Image.open(io.BytesIO(data)).info["parameters"]
    assert text.splitlines()[:2] == ["a car", "Negative prompt: rain"]
    assert text.splitlines()[2].startswith("Steps: 3, Sampler: Euler a, CFG scale: 7.5, Seed: 7, Size: 64x64, Model hash: ")


def test_a_stopped_picture_says_so_and_can_be_made_whole(sd: Model) -> None:
    asked = sd.resolve(Request(prompt="a car", steps=5, seed=7))
    ticket = Ticket(asked)
    ticket.emit(Step(2, 5, Image.new("RGB", (8, 8)), None))
    ticket.cancel()
    stopped = next(event for event in ticket.take_events() if isinstance(event, Stopped))
    data = png.encode(stopped.image, stopped.info)
    assert Image.open(io.BytesIO(data)).size == (64, 64)
    last = Image.open(io.BytesIO(data)).info["parameters"].splitlines()[-1]
    assert ", Stopped at step 2 of 5, " in last and "Model hash" not in last
    assert png.read_request(data) == asked
    assert png.parse_parameters("a car\n" + last)["seed"] == "7"


def test_a_picture_of_another_tool_gives_what_is_understood() -> None:
    text = "two\nlines\nNegative prompt: rain\nSteps: 30, Sampler: Unknown, CFG scale: 6, Seed: 5, Size: 128x64, Model: tiny"
    request = png.read_request(picture_with(parameters=text))
    assert (request.prompt, request.negative_prompt, request.steps) == ("two\nlines", "rain", 30)
    assert (request.width, request.height, request.seed, request.guidance_scale) == (128, 64, 5, 6.0)
    assert request.scheduler == Request(prompt="-").scheduler and request.model == ""


LINE = "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 128x128"


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        ("Sampler: DPM++ 2M Karras", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 2M, Schedule type: Karras", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 2M, Schedule type: Uniform", "DPM++ 2M"),
        ("Sampler: Euler a, Schedule type: Automatic", "Euler a"),
        ("Sampler: Euler, Schedule type: Karras", "Euler"),
    ],
)
def test_a1111_names_the_schedule_apart(sampler: str, scheduler: str) -> None:
    data = picture_with(parameters=f"a red car\nSteps: 20, {sampler}, CFG scale: 7, Seed: 42, Size: 128x128")
    assert png.read_request(data).scheduler == scheduler


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "prompt", "negative"),
    [
        (["a red", "car", "Negative prompt: blurry", "dark", LINE], "a red\ncar", "blurry\ndark"),
        (["a red car", LINE], "a red car", ""),
        (["Negative prompt: blurry", LINE], "", "blurry"),
        ([LINE], "", ""),
        (["", LINE], "", ""),
    ],
)
def test_a1111_leaves_out_the_lines_of_empty_prompts(end: str, lines: list[str], prompt: str, negative: str) -> None:
    found = png.read_settings(picture_with(parameters=end.join(lines)))
    assert (found["prompt"], found["negative_prompt"]) == (prompt, negative)
    assert (found["steps"], found["seed"], found["width"], found["guidance_scale"]) == (20, 42, 128, 7.0)
    assert found.keys() == Request(prompt="-").as_dict().keys()


def test_what_stands_in_quotes_is_no_setting() -> None:
    odd = 'Template: "a, Steps: 5, Seed: 6\\", Size: 8x8", Lora hashes: "x: 1, Sampler: Euler", Version: v1.9.4'
    found = png.read_settings(picture_with(parameters=f"a car\n{LINE}, {odd}"))
    assert (found["steps"], found["seed"], found["width"], found["scheduler"]) == (20, 42, 128, "DPM++ 2M Karras")


def test_a_picture_without_a_prompt_fills_the_form_and_is_no_request() -> None:
    data = picture_with(parameters=f"Negative prompt: blurry\n{LINE}")
    assert png.read_settings(data)["prompt"] == ""
    with pytest.raises(InvalidValue, match="a few words that say what to draw"):
        png.read_request(data)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("a", "b")
    return out.getvalue()


GOOD = picture_with(parameters="a\nSteps: 3, Sampler: DDIM, CFG scale: 1, Seed: 1, Size: 64x64")
BAD = {
    "empty": b"",
    "text": b"hello",
    "zip": zipped(),
    "pickle": pickle.dumps({"a": 1}),
    "truncated": GOOD[:40],
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(64),
    "without settings": picture_with(),
    "broken json": picture_with(model_workbench="{"),
    "a json list": picture_with(model_workbench="[1]"),
    "deep json": picture_with(model_workbench="[" * 100_000),
    "no steps": picture_with(parameters="a car"),
    "bad steps": picture_with(model_workbench=json.dumps({"prompt": "a", "steps": 1e9})),
    "wrong kinds": picture_with(model_workbench=json.dumps({"prompt": ["a"], "seed": {}})),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_an_invalid_value(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        png.read_request(BAD[name])
    assert len(str(caught.value)) < 300


def test_a_text_bomb_is_refused() -> None:
    bomb = PngImagePlugin.PngInfo()
    bomb.add_text("parameters", "a" * 80_000_000, zip=True)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=bomb)
    with pytest.raises(InvalidValue):
        png.read_request(out.getvalue())
