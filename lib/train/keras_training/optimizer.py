"""AdamW with a rate for the backbone and another for the head, and the one-cycle schedule. As the PyTorch loop has them."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, pi
from typing import Any

import keras
import torch
from torch.optim.adamw import adamw

CLIP = 1.0  # norm of all gradients together
# torch.optim.lr_scheduler.OneCycleLR's own values
RISE, FIRST, LAST, BETA_HIGH, BETA_LOW = 0.3, 1 / 25, 1 / 25 / 1e4, 0.95, 0.85


class DiscriminativeAdamW(keras.optimizers.AdamW):
    """``learning_rate`` is for all variables but those of ``head``, which learn ``factor`` times as fast.

    Moments and iterations are Keras's own variables. The update is torch's AdamW in one kernel (Loshchilov and Hutter,
    2019), so its weight decay and epsilon are those of a PyTorch run.
    """

    def __init__(self, head: Iterable[Any] = (), factor: float = 1.0, **values: Any) -> None:
        super().__init__(epsilon=1e-8, global_clipnorm=CLIP, name="adamw", **values)
        self.head, self.factor = {id(variable) for variable in head}, factor

    def _apply_weight_decay(self, variables: Any) -> None:
        """Part of the update: Keras's would know one rate."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        rate, step = float(learning_rate), float(self.iterations)
        for is_head in (False, True):
            chosen = [k for k, v in enumerate(trainable_variables) if (id(v) in self.head) is is_head]
            if not chosen:
                continue
            at = [self._get_variable_index(trainable_variables[k]) for k in chosen]
            parameters = [trainable_variables[k].value.data for k in chosen]
            adamw(
                parameters,
                [grads[k].contiguous() for k in chosen],  # the kernel goes through the memory in order
                [self._momentums[i].value.data for i in at],
                [self._velocities[i].value.data for i in at],
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
    """The share of the highest learning rate, and Adam's first beta, at ``step`` from 0 of ``steps``.

    The rate rises over the first 30 % and falls to nearly nothing, both along a cosine; beta goes the other way
    (Smith, 2018, arXiv:1803.09820).
    """
    top, last = RISE * steps - 1, steps - 1
    if step <= top:
        return _between(FIRST, 1.0, step / top), _between(BETA_HIGH, BETA_LOW, step / top)
    done = (step - top) / (last - top)
    return _between(1.0, LAST, done), _between(BETA_LOW, BETA_HIGH, done)


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * done))
