"""Mixed precision: autocast, and loss scaling for float16."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch

from lib.errors import InvalidValue

DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CLIP = 1.0  # maximum global gradient norm


class Precision:
    """``kind`` is no, bf16 or fp16. Weights and optimizer state stay float32.

    Float16 gradients below 6e-8 underflow to 0, so the loss is scaled up before ``backward`` and the gradients are scaled
    down after it (Micikevicius et al. 2018, section 3.2). A step with overflowing gradients is skipped and the scale halved.
    """

    def __init__(self, kind: str, device: torch.device, *, scale: float = 2.0**16) -> None:
        self.dtype, self.device = DTYPES[kind], device
        half = self.dtype is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=half, init_scale=scale)

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]) -> bool:
        """Run backward, clip the gradients and step the optimizer. Returns False if float16 overflowed: step skipped."""
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        previous_scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= previous_scale


def check(kind: str, device: torch.device) -> None:
    """Raises InvalidValue for float16 on a CPU, where it runs at a tenth of the speed of float32."""
    if kind == "fp16" and device.type != "cuda":
        raise InvalidValue("mixed_precision", kind, "no or bf16 on a CPU; fp16 needs a CUDA device")
