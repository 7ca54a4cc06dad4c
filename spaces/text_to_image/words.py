"""User-facing text of the page: labels of the fields, error messages, times and sizes. Plain text, no HTML."""

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
    """Formats ``error`` for display below its field. API clients get ``error.message``, which names the API's field."""
    if not isinstance(error, InvalidValue):
        return error.message
    if error.field == "prompt" and not str(error.given or "").strip():
        return "Type a prompt first."
    if error.field == "picture":
        return NO_SETTINGS if "without" in str(error.given) else f"This is {error.given}. Use {error.allowed}."
    end = "" if error.allowed.endswith("?") else "."
    return f"{LABELS.get(error.field, error.field)} must be {error.allowed}{end}"


def left(seconds: float | None) -> str:
    """Returns the remaining time, to be appended to other text."""
    if seconds is None:
        return ""
    return f" · {seconds:.0f} s left" if seconds >= 1 else " · < 1 s left"


def took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def tokens(found: Tokens) -> str:
    """Returns the line below the prompt. Some models read a prompt in as many chunks as it needs, others cut it."""
    if found.cut:
        return f"{found.count} tokens, of which {found.room} are read: the end is left out, from “{found.cut}”"
    chunks = f" in {len(found.chunks)} chunks" if len(found.chunks) > 1 else ""
    return f"{found.count} / {found.room} tokens{chunks}"


def several(number: int, seconds: float) -> str:
    """Returns the caption of pictures that were generated together."""
    return f"{plural(number, 'picture')} in {took(seconds)}. Choose one to see it large, with its settings."


def size_hint(size: int | None, bounds: tuple[int, int] | None) -> str:
    """Returns the hint below width and height. ``size``: the resolution in pixels that the model was trained at."""
    if size is None or bounds is None:
        return "0 = model default; a multiple of 8"
    return f"0 = model default ({size}); {bounds[0]}–{bounds[1]}"


def parameters(info: dict[str, Any]) -> str:
    """Returns the settings of a picture with the labels of the form. Its file also has them in A1111's format."""
    lines = [info["prompt"]]
    if info["negative_prompt"]:
        lines.append(f"Negative prompt: {info['negative_prompt']}")
    labelled = {
        "Model": info["model"],
        "Steps": info["steps"],
        "Scheduler": info["scheduler"],
        "Guidance": f"{info['guidance_scale']:g}",
        "Seed": info["seed"],
        "Size": f"{info['width']} × {info['height']}",
    }
    if info.get("loras"):
        labelled["LoRA"] = ", ".join(f"{name}:{weight:g}" for name, weight in info["loras"])
    if "strength" in info:
        labelled |= {"Strength": f"{info['strength']:g}", "Start picture": info["start_picture"]}
        labelled |= {"Mask": info["mask"]} if "mask" in info else {}
    lines.append(", ".join(f"{name}: {value}" for name, value in labelled.items()))
    return "\n".join(lines)
