"""The page's sentences for a person: labels of the fields, what is wrong with one, times and sizes. Plain text, no HTML."""

from __future__ import annotations

from typing import Any

from lib.errors import InvalidValue, WorkbenchError
from lib.reports.words import plural
from lib.text_to_image.prompts.chunks import Tokens

LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "width": "Width",
    "height": "Height",
    "scheduler": "Scheduler",
    "model": "Model",
    "count": "Pictures",
    "strength": "Strength",
    "loras": "LoRA",
    "start": "Start picture",
    "mask": "Mask",
}
NO_SETTINGS = "This PNG carries no settings. Use one made here or in A1111; screenshots and re-saved files lose them."


def sentence(error: WorkbenchError) -> str:
    """``error`` under the field it is about. Programs get ``error.message``, which names the field of the API."""
    if not isinstance(error, InvalidValue):
        return error.message
    if error.field == "prompt" and not str(error.given or "").strip():
        return "Type a prompt first."
    if error.field == "picture":
        return NO_SETTINGS if "without" in str(error.given) else f"This is {error.given}. Use {error.allowed}."
    end = "" if error.allowed.endswith("?") else "."
    return f"{LABELS.get(error.field, error.field)} must be {error.allowed}{end}"


def left(seconds: float | None) -> str:
    """What remains, to be put behind other words."""
    if seconds is None:
        return ""
    return f" · {seconds:.0f} s left" if seconds >= 1 else " · < 1 s left"


def took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def tokens(found: Tokens) -> str:
    """Under the prompt. A prompt may have several chunks, as many as it needs, or one room that ends."""
    if found.cut:
        return f"{found.count} tokens, of which {found.room} are read: the end is left out, from “{found.cut}”"
    chunks = f" in {len(found.chunks)} chunks" if len(found.chunks) > 1 else ""
    return f"{found.count} / {found.room} tokens{chunks}"


def several(number: int, seconds: float) -> str:
    """Of pictures that were made together."""
    return f"{plural(number, 'picture')} in {took(seconds)}. Choose one to see it large, with its settings."


def size_hint(size: int | None, bounds: tuple[int, int] | None) -> str:
    """Under width and height. ``size``: pixels that the model was trained at."""
    if size is None or bounds is None:
        return "0 = model default; a multiple of 8"
    return f"0 = model default ({size}); {bounds[0]}–{bounds[1]}"


def parameters(info: dict[str, Any]) -> str:
    """The settings of a picture in the form's own words. Its file has them in those of A1111, too."""
    lines = [info["prompt"]]
    if info["negative_prompt"]:
        lines.append(f"Negative prompt: {info['negative_prompt']}")
    told = {
        "Model": info["model"],
        "Steps": info["steps"],
        "Scheduler": info["scheduler"],
        "Guidance": f"{info['guidance_scale']:g}",
        "Seed": info["seed"],
        "Size": f"{info['width']} × {info['height']}",
    }
    if info.get("loras"):
        told["LoRA"] = ", ".join(f"{name}:{weight:g}" for name, weight in info["loras"])
    if "strength" in info:
        told |= {"Strength": f"{info['strength']:g}", "Start picture": info["start_picture"]}
        told |= {"Mask": info["mask"]} if "mask" in info else {}
    lines.append(", ".join(f"{name}: {value}" for name, value in told.items()))
    return "\n".join(lines)
