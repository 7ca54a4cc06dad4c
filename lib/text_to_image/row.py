"""A running request, as a row of a batch."""

from __future__ import annotations

import inspect

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL.Image import Image

from lib.errors import WorkbenchError
from lib.text_to_image.image_to_image import start_latents
from lib.text_to_image.loras.adapters import TEXT_ENCODERS
from lib.text_to_image.models import Model
from lib.text_to_image.request import Request


class Row:
    """One request in a batch, with its own latents [1, C, h, w] float32, conditioning, scheduler and random generator.

    ``calls`` of ``len(timesteps)`` calls of the network are done, which makes ``step`` of ``steps``. With a start picture,
    the timesteps begin later.
    """

    __slots__ = (
        "_inpainting",
        "calls",
        "error",
        "family",
        "latents",
        "loras",
        "negative",
        "noisy",
        "options",
        "output",
        "positive",
        "request",
        "scheduler",
        "steps",
        "timesteps",
    )

    def __init__(self, model: Model, request: Request) -> None:
        assert model.family is not None
        self.request, self.family = request, model.family
        self.scheduler, self.timesteps = self.family.make_schedule(request)
        encoder, tokens = self.family.text_encoder
        self.loras = model.adapters.with_weights(request.loras)
        with model.threads.use(encoder, tokens), model.adapters.apply([self.loras], *TEXT_ENCODERS):
            self.positive, self.negative = self.family.encode(request)
        # on the CPU, so that the noise depends neither on the device nor on the batch
        generator = torch.Generator().manual_seed(request.seed)
        self.steps, self._inpainting = request.steps, None
        if request.start is None:
            noise = randn_tensor(self.family.latent_shape(request), generator=generator, dtype=torch.float32)
            self.latents = self.family.initial_latents(self.scheduler, noise).to(model.device)
        else:
            self.steps -= self.family.skipped_steps(request)
            self.timesteps = self.family.remaining_timesteps(self.scheduler, self.timesteps, request)
            self.latents, self._inpainting = start_latents(model, request, self.scheduler, self.timesteps[0], generator)
        step_parameters = inspect.signature(self.scheduler.step).parameters
        self.options = {"generator": generator} if "generator" in step_parameters else {}
        self.calls = 0
        self.error: WorkbenchError | None = None
        self.noisy = self.output = self.latents

    @property
    def num_rows(self) -> int:
        """Rows per call of the network: 2 with guidance, else 1."""
        return 1 if self.negative is None else 2

    @property
    def left(self) -> int:
        return len(self.timesteps) - self.calls

    @property
    def step(self) -> int:
        """Number of completed steps. Heun and PNDM call the network more than once per step."""
        return self.steps * self.calls // len(self.timesteps)

    def scale_model_input(self) -> torch.Tensor:
        """Set and return ``noisy``, the network's next input."""
        self.noisy = self.family.scale_model_input(self.scheduler, self.latents, self.timesteps[self.calls])
        return self.noisy

    def advance(self, output: torch.Tensor) -> None:
        """Run a scheduler step with the network's guided ``output`` [1, C, h, w] float32."""
        self.output = output
        t = self.timesteps[self.calls]
        self.latents = self.scheduler.step(output, t, self.latents, **self.options, return_dict=False)[0]
        self.calls += 1
        if self._inpainting is not None:
            next_timestep = self.timesteps[self.calls] if self.left else None
            self.latents = self._inpainting.blend(self.latents, self.scheduler, self.family, next_timestep)

    def finish(self, image: Image) -> Image:
        """Return the decoded picture, with the start picture's pixels outside the mask."""
        return image if self.request.start is None else self.request.start.composite(image)
