"""Call the network with the rows of several requests: guidance, the maximum number of rows, and error handling."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from lib.errors import GenerationFailed, WorkbenchError, out_of_memory
from lib.text_to_image.events import TOO_LARGE
from lib.text_to_image.families import Conditioning
from lib.text_to_image.loras.lora_rows import WeightedLoras
from lib.text_to_image.models import Model
from lib.text_to_image.row import Row

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Input:
    """One row of the network: ``noisy`` [1, C, h, w] float32 at a timestep."""

    noisy: torch.Tensor
    time: float
    condition: Conditioning
    loras: WeightedLoras


class Predictor:
    """Predicts rows. ``limit``: maximum rows per call, halved when out of memory; ``bucket`` > 0: fixed rows per call."""

    def __init__(self, model: Model, *, limit: int, bucket: int) -> None:
        assert model.family is not None
        self.model, self.family, self.limit, self.bucket = model, model.family, bucket or limit, bucket

    def outputs(self, rows: list[Row]) -> list[torch.Tensor | None]:
        """Return the guided prediction [1, C, h, w] of each row, or None, with ``error`` set, if it failed."""
        if not rows:
            return []
        try:
            return list(self._predict(rows).split(1))
        except Exception as error:  # retry one by one to find the row that causes it
            if len(rows) == 1:
                rows[0].error = failure(error)
                return [None]
            return [output for row in rows for output in self.outputs([row])]

    def _predict(self, rows: list[Row]) -> torch.Tensor:
        """Apply guidance (Ho & Salimans 2022, eq. 6), scaled as in diffusers: negative + scale (prompt - negative)."""
        inputs: list[Input] = []
        prompt_at, negative_at = [], []
        for row in rows:
            negative_at.append(len(inputs))
            for condition in (row.negative, row.positive) if row.negative else (row.positive,):
                inputs.append(Input(row.noisy, float(row.timesteps[row.calls]), condition, row.loras))
            prompt_at.append(len(inputs) - 1)
        outputs = self._calls(inputs, together=len(rows) > 1).float()
        scale = torch.tensor([row.request.guidance_scale if row.negative else 1.0 for row in rows])
        prompt, negative = outputs[prompt_at], outputs[negative_at]
        return negative + scale.to(outputs.device)[:, None, None, None] * (prompt - negative)

    def _calls(self, inputs: list[Input], together: bool) -> torch.Tensor:
        """Return [n, C, h, w] for n ``inputs``, in calls of at most ``limit`` rows.

        With a bucket, all prompts of a call have the same length, since padding would change the kernels.
        """
        groups: dict[int, list[int]] = {}
        for k, row_input in enumerate(inputs):
            groups.setdefault(len(row_input.condition.hidden) if self.bucket else 0, []).append(k)
        if len(groups) > 1:
            outputs = [self._calls([inputs[k] for k in indices], together) for indices in groups.values()]
            return torch.cat(outputs)[torch.tensor([k for indices in groups.values() for k in indices]).argsort()]
        parts: list[torch.Tensor] = []
        while (start := sum(map(len, parts))) < len(inputs):
            chunk = inputs[start : start + self.limit]
            try:
                parts.append(self._call(chunk, together))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.limit == 1 or self.bucket:
                    raise
                self.limit = max(1, min(self.limit, len(chunk)) // 2)
                if self.model.device.type == "cuda":
                    torch.cuda.empty_cache()
        return torch.cat(parts)

    def _call(self, inputs: list[Input], together: bool) -> torch.Tensor:
        n = len(inputs)
        if self.bucket:
            inputs = inputs + inputs[-1:] * (self.bucket - n)
        noisy, times = (
            torch.cat([row_input.noisy for row_input in inputs]),
            torch.tensor([row_input.time for row_input in inputs]),
        )
        threads, loras = self.model.threads, [row_input.loras for row_input in inputs]
        conditions, compiled = [row_input.condition for row_input in inputs], self.model.compiled
        plain = not self.bucket and not any(loras)
        if compiled and plain and compiled.supports(noisy, conditions):
            return compiled(noisy, times, torch.stack([row_input.hidden for row_input in conditions]), together=together)
        if together and plain:

            def part(start: int, stop: int) -> torch.Tensor:
                return self.family.predict(noisy[start:stop], times[start:stop], conditions[start:stop])

            return threads.shared(self.family.network, part, n, positions(noisy))
        # Several threads split a matrix arbitrarily, so the rounding of a row would depend on its position.
        with (
            threads.use(self.family.network, positions(noisy), together=together, one=bool(self.bucket)),
            self.model.adapters.apply(loras, "unet", "transformer", separately=bool(self.bucket)),
        ):
            return self.family.predict(noisy, times, conditions)[:n]


def positions(latents: torch.Tensor) -> int:
    """Return the number of latent pixels of [n, C, h, w]."""
    return latents.shape[0] * latents.shape[2] * latents.shape[3]


def failure(error: Exception) -> WorkbenchError:
    """Return the error that the visitor gets for an exception of one row."""
    if isinstance(error, WorkbenchError):
        return error
    if out_of_memory(error):
        return GenerationFailed(TOO_LARGE)
    log.error("a row broke", exc_info=error)
    return GenerationFailed(f"The model failed on this request ({type(error).__name__}).")
