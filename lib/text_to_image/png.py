"""Write and read the two text chunks of pictures, which make PNGs reproducible.

``parameters`` follows the convention of A1111's web UI (readable by many tools);
``model_workbench`` is JSON with everything needed to make the identical picture.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from lib.errors import InvalidValue
from lib.text_to_image.loras.selection import with_tags
from lib.text_to_image.request import SCHEDULERS, Request

CHUNK = "model_workbench"
MAX_BYTES = 64 * 2**20
MAX_PAIRS = 10_000  # characters of "Steps: 20, Sampler: …"
# a quoted value may contain commas and text that looks like other names
PAIR = re.compile(r'([A-Z][\w /-]{0,30}): ("(?:[^"\\]|\\.){0,2000}"|[^,\n]{0,200})')
# since version 1.9 A1111 names the noise schedule separately; "Automatic" is Karras for this sampler
KARRAS = {("DPM++ 2M", "Karras"), ("DPM++ 2M", "Automatic")}
ALLOWED = "a PNG made here (or by A1111's web UI), with its text chunks intact"


def encode(image: Image.Image, info: dict[str, Any]) -> bytes:
    """Encode a picture as PNG. ``info``: of a ``Done`` or a ``Stopped``."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", parameters_text(info))
    chunks.add_text(CHUNK, json.dumps(info))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def parameters_text(info: dict[str, Any]) -> str:
    """Return A1111's text: prompt, negative prompt, and ``Steps: 20, Sampler: …``."""
    lines = [with_tags(info["prompt"], info.get("loras", ()))]
    if info["negative_prompt"]:
        lines.append("Negative prompt: " + info["negative_prompt"])
    lines.append(
        f"Steps: {info['steps']}, Sampler: {info['scheduler']}, CFG scale: {info['guidance_scale']:g}, "
        f"Seed: {info['seed']}, Size: {info['width']}x{info['height']}, "
        + "".join(f"{entry}, " for entry in _details(info))
        + f"Model: {info['model']}, Version: model-workbench"
    )
    return "\n".join(lines)


def _details(info: dict[str, Any]) -> Iterator[str]:
    """Yield the optional entries."""
    if "revision" in info:
        yield f"Model hash: {info['revision'][:10]}"
    if info.get("lora_hashes"):
        yield 'Lora hashes: "' + ", ".join(f"{name}: {digits}" for name, digits in info["lora_hashes"].items()) + '"'
    if "start_picture" in info:
        yield f"Denoising strength: {info['strength']:g}"
        yield f"Start picture: {info['start_picture']}"
    if "mask" in info:
        yield f"Mask: {info['mask']}"
    if "stopped" in info:
        yield f"Stopped at step {info['stopped']['step']} of {info['stopped']['steps']}"


def read_info(file: bytes | Path) -> dict[str, Any]:
    """Read the text chunks of an uploaded PNG as ``Done.info``. Pixels are never decoded. Raises InvalidValue."""
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    if size > MAX_BYTES:
        raise InvalidValue("picture", f"{size} bytes", f"at most {MAX_BYTES} bytes")
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=["PNG"]) as picture:
            text = {k: v for k, v in picture.info.items() if isinstance(v, str)}
    except Exception:  # Pillow raises many types of errors for a broken file
        raise InvalidValue("picture", "a file that is not a readable PNG", ALLOWED) from None
    if CHUNK in text:
        try:
            info = json.loads(text[CHUNK])
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, dict):
            raise InvalidValue("picture", f"a broken {CHUNK} chunk", ALLOWED)
        return info
    if "parameters" in text:
        return parse_parameters(text["parameters"])
    raise InvalidValue("picture", "a PNG without settings", ALLOWED)


def read_request(file: bytes | Path) -> Request:
    """Return the request that made a picture. Raises InvalidValue for other files."""
    return _request(read_info(file))


def _request(info: dict[str, Any]) -> Request:
    names = Request.__dataclass_fields__
    return Request.parse({k: v for k, v in info.items() if k in names})


def read_settings(file: bytes | Path) -> dict[str, Any]:
    """Return the settings of a picture as a dict. The prompt may be "", since other tools make pictures without one."""
    info = read_info(file)
    if info.get("prompt") == "":
        return _request(info | {"prompt": "-"}).as_dict() | {"prompt": ""}
    return _request(info).as_dict()


def parse_parameters(text: str) -> dict[str, Any]:
    """Parse A1111's text. The model and unknown samplers are left out. Raises InvalidValue.

    Missing prompts are "", as A1111 leaves out their lines, even the first one.
    """
    text = "\n" + text.replace("\r\n", "\n").replace("\r", "\n")
    head, separator, tail = text.rpartition("\nSteps: ")
    if not separator:
        raise InvalidValue("picture", "a parameters chunk without 'Steps:'", ALLOWED)
    prompt, _, negative = head.partition("\nNegative prompt: ")
    pairs = {name: value.strip('"') for name, value in PAIR.findall("Steps: " + tail[:MAX_PAIRS])}
    width, _, height = pairs.get("Size", "0x0").partition("x")
    info = {
        "prompt": prompt.removeprefix("\n"),
        "negative_prompt": negative,
        "steps": pairs.get("Steps", ""),
        "width": width,
        "height": height,
        "guidance_scale": pairs.get("CFG scale"),
        "seed": pairs.get("Seed"),
    }
    sampler = pairs.get("Sampler", "")
    if (sampler, pairs.get("Schedule type")) in KARRAS:
        sampler += " Karras"
    if sampler in SCHEDULERS:
        info["scheduler"] = sampler
    return {k: v for k, v in info.items() if v is not None}
