"""AdamW with separate learning rates for backbone and head, and the one-cycle schedule, as in the PyTorch loop."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, pi
from typing import Any

import keras
import torch
from torch.optim.adamw import adamw

CLIP = 1.0  # maximum global gradient norm
# defaults of torch.optim.lr_scheduler.OneCycleLR
RISE, FIRST, LAST, BETA_HIGH, BETA_LOW = 0.3, 1 / 25, 1 / 25 / 1e4, 0.95, 0.85


class DiscriminativeAdamW(keras.optimizers.AdamW):
    """``learning_rate`` applies to all variables except those of ``head``, whose rate is ``factor`` times as high.

    Moments and iterations are Keras variables. The update is torch's fused AdamW (Loshchilov and Hutter, 2019), so weight
    decay and epsilon behave as in a PyTorch run.
    """

    def __init__(self, head: Iterable[Any] = (), factor: float = 1.0, **values: Any) -> None:
        super().__init__(epsilon=1e-8, global_clipnorm=CLIP, name="adamw", **values)
        self.head, self.factor = {id(variable) for variable in head}, factor

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: the fused update applies the decay; Keras's own would use a single rate."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        rate, step = float(learning_rate), float(self.iterations)
        for is_head in (False, True):
            chosen = [k for k, v in enumerate(trainable_variables) if (id(v) in self.head) is is_head]
            if not chosen:
                continue
            slots = [self._get_variable_index(trainable_variables[k]) for k in chosen]
            parameters = [trainable_variables[k].value.data for k in chosen]
            adamw(
                parameters,
                [grads[k].contiguous() for k in chosen],  # the kernel requires contiguous memory
                [self._momentums[i].value.data for i in slots],
                [self._velocities[i].value.data for i in slots],
                [],
                list(torch.full((len(chosen),), step, device=parameters[0].device).unbind()),
                fused=True,
                amsgrad=False,
                beta1=self.beta_1,
                beta2=self.beta_2,
                lr=rate * (self.factor if is_head else 1.0),
                weight_decay=self.weight_decay,
                eps=self.epsilon,
                maximize=False,
            )


def one_cycle(step: int, steps: int) -> tuple[float, float]:
    """Returns the share of the maximum learning rate, and Adam's beta_1, at ``step`` (from 0) of ``steps``.

    The rate rises over the first 30 % of the steps and then falls to almost zero, both along a cosine; beta_1 moves
    inversely (Smith, 2018, arXiv:1803.09820).
    """
    peak, last = RISE * steps - 1, steps - 1
    if step <= peak:
        return _between(FIRST, 1.0, step / peak), _between(BETA_HIGH, BETA_LOW, step / peak)
    progress = (step - peak) / (last - peak)
    return _between(1.0, LAST, progress), _between(BETA_LOW, BETA_HIGH, progress)


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * done))
