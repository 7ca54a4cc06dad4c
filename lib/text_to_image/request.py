"""A validated request for pictures. Imports neither torch nor diffusers."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from lib.errors import InvalidValue
from lib.text_to_image.loras import selection
from lib.text_to_image.prompts import syntax
from lib.text_to_image.start_picture import StartPicture

SCHEDULERS = ("DDIM", "DPM++ 2M", "DPM++ 2M Karras", "Euler", "Euler a", "UniPC", "LCM", "Heun", "PNDM")
MAX_PROMPT, MAX_SEED, MAX_STEPS, MAX_COUNT = 2000, 2**32 - 1, 150, 8
INTEGER_RANGES = {
    "steps": (1, MAX_STEPS),
    "seed": (-1, MAX_SEED),
    "width": (0, 4096),
    "height": (0, 4096),
    "count": (1, MAX_COUNT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for ``count`` pictures. ``width`` and ``height`` are pixels; 0 stands for the model's own size.

    ``seed``: -1 for a random one. ``model``: a name from the catalogue, "" for the default. ``guidance_scale``: up to 1
    means no guidance, and one row in the batch instead of two. ``loras``: names from the catalogue with weights; tags in
    the prompt, ``<lora:name:0.8>``, are moved there. ``start``: the start picture and the mask of inpainting.
    """

    prompt: str
    negative_prompt: str = ""
    steps: int = 20
    guidance_scale: float = 4.0
    seed: int = -1
    width: int = 0
    height: int = 0
    scheduler: str = "DPM++ 2M"
    model: str = ""
    count: int = 1
    loras: selection.Loras = ()
    start: StartPicture | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_PROMPT:
                raise InvalidValue(name, text, f"text of at most {MAX_PROMPT} characters")
            # JSON can contain lone surrogates, which cannot be encoded in a file
            object.__setattr__(self, name, text.encode("utf-8", "replace").decode().replace("\0", ""))
        prompt, tagged = selection.extract_tags(self.prompt)
        object.__setattr__(self, "prompt", prompt)
        object.__setattr__(self, "loras", selection.parse((*selection.parse(self.loras), *tagged)))
        if not self.prompt.strip():
            raise InvalidValue("prompt", self.prompt, "a few words that say what to draw")
        for name in ("prompt", "negative_prompt"):
            syntax.parse(getattr(self, name), name)
        for name, (low, high) in INTEGER_RANGES.items():
            object.__setattr__(self, name, _integer(name, getattr(self, name), low, high))
        scale = self.guidance_scale
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 <= scale <= 30:
            raise InvalidValue("guidance_scale", scale, "a number from 0 to 30")
        object.__setattr__(self, "guidance_scale", float(scale))
        for name in ("width", "height"):
            if getattr(self, name) % 8:
                raise InvalidValue(name, getattr(self, name), "a multiple of 8")
        if self.scheduler not in SCHEDULERS:
            raise InvalidValue("scheduler", self.scheduler, ", ".join(SCHEDULERS))
        if not isinstance(self.model, str):
            raise InvalidValue("model", self.model, "a name from the catalogue")
        if self.start is not None and not self.steps_run:
            least = math.ceil(1000 / self.steps) / 1000
            allowed = f"at least {least} for {self.steps} steps, so that at least one of them runs"
            raise InvalidValue("strength", self.start.strength, allowed)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Request:
        """Parse JSON, a query string or a form, without a start picture. Numbers may be text. Raises InvalidValue, also for
        unknown names."""
        known = {f.name: f.type for f in fields(cls) if f.name != "start"}
        for name in values:
            if name not in known:
                raise InvalidValue("parameter", name, ", ".join(known))
        if values.get("prompt") is None:
            raise InvalidValue("prompt", None, "a few words that say what to draw")
        values_given = {k: v for k, v in values.items() if v is not None}
        for name, value in values_given.items():
            if isinstance(value, str) and known[name] in ("int", "float"):
                values_given[name] = _number(name, value)
        return cls(**values_given)

    @property
    def guided(self) -> bool:
        return self.guidance_scale > 1

    @property
    def steps_run(self) -> int:
        """``steps``, or the share of them that is run with a start picture (diffusers' ``get_timesteps``)."""
        return self.steps if self.start is None else min(int(self.steps * self.start.strength), self.steps)

    def with_seed(self, **found: Any) -> Request:
        """Return a copy with a random seed if ``seed`` is -1, and with ``found`` (model, size) filled in."""
        seed = random.SystemRandom().randint(0, MAX_SEED) if self.seed == -1 else self.seed
        return replace(self, seed=seed, **found)

    def per_picture(self) -> list[Request]:
        """Return a request per picture, with seeds seed, seed + 1, …; the engine only handles single pictures.

        A random seed is drawn once, so the pictures of a request have consecutive seeds.
        """
        first = self.with_seed().seed
        return [replace(self, count=1, seed=(first + k) % (MAX_SEED + 1)) for k in range(self.count)]

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters of one picture, without ``count``. A start picture is represented by its digest."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("count", "start")}
        values["loras"] = [list(pair) for pair in self.loras]  # lists, as in JSON
        return values | (self.start.as_dict() if self.start else {})


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, float) and value.is_integer():  # a browser's number field sends 20.0
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidValue(name, value, f"a whole number from {low} to {high}")
    return value


def _number(name: str, text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
