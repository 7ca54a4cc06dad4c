"""Stable Diffusion 3 and 3.5: two CLIP text encoders and an optional T5 (Esser et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lib.text_to_image.families.base import Conditioning
from lib.text_to_image.families.flow import FlowFamily
from lib.text_to_image.request import Request

TOKENS = 256  # of T5, as in the pipeline


class StableDiffusion3(FlowFamily):
    pipelines = ("StableDiffusion3Pipeline",)

    @property
    def channels(self) -> int:
        return self.network.config.in_channels

    @property
    def text_encoder(self) -> tuple[Any, int]:
        if self.pipeline.text_encoder_3 is None:  # optional: T5 takes 9.5 GB in fp16
            return self.pipeline.text_encoder_2, 2 * self.pipeline.tokenizer_2.model_max_length
        return self.pipeline.text_encoder_3, 2 * TOKENS

    def encode(self, request: Request) -> tuple[Conditioning, Conditioning | None]:
        guided = self.guided(request)
        prompt, negative, pooled, negative_pooled = self.pipeline.encode_prompt(
            prompt=request.prompt,
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=guided,
            negative_prompt=request.negative_prompt,
            max_sequence_length=TOKENS,
        )
        return self._row(prompt, pooled), self._row(negative, negative_pooled) if guided else None

    def _row(self, hidden: torch.Tensor, pooled: torch.Tensor) -> Conditioning:
        return Conditioning(hidden=hidden[0].to(self.dtype), added={"pooled": pooled[0].to(self.dtype)})

    def predict(self, noisy: torch.Tensor, times: torch.Tensor, conditions: Sequence[Conditioning]) -> torch.Tensor:
        return self.network(
            hidden_states=noisy.to(self.dtype),
            timestep=times.to(self.device),
            encoder_hidden_states=torch.stack([c.hidden for c in conditions]),
            pooled_projections=torch.stack([c.added["pooled"] for c in conditions]),
            return_dict=False,
        )[0]
