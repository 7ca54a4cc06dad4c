"""Grids of pictures for TensorBoard, while a part is trained."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torchvision.utils import make_grid

from models.tiny_scenes import networks
from models.tiny_scenes.latents import LatentSpace, pixels
from models.tiny_scenes.networks import Denoiser
from models.tiny_scenes.scenes import all_scenes


@torch.no_grad()
def log_samples(accelerator: Accelerator, part: str, shadow: dict[str, torch.Tensor], run: Path, step: int) -> None:
    """Reconstructions by the decoder, or eight prompts by the denoiser."""
    if part == "encoder":
        return
    space, averaged = LatentSpace.load(), Denoiser() if part == "denoiser" else networks.build_vae()
    averaged.load_state_dict({k: v.cpu() for k, v in shadow.items()})
    held = [s for s in all_scenes() if s.held_out][::36][:8]
    if part == "decoder":
        x = pixels(held, list(range(len(held))))
        grid = torch.cat([x, averaged.decode(space.encode(x)).sample])
    else:
        latents = sample(averaged, [s.prompt for s in held], steps=15)
        # the first three components are close to brightness and two colours
        grid = F.interpolate(torch.einsum("nchw,cp->nphw", latents, space.weight.reshape(8, 3, 64).mean(2)), scale_factor=8)
        if (run / "decoder.safetensors").exists():
            grid = networks.trained_vae(run).decode(latents).sample
    picture = make_grid(grid.clamp(-1, 1) / 2 + 0.5, nrow=8)
    accelerator.get_tracker("tensorboard").log_images({f"{part}/samples": picture[None].numpy()}, step=step)


@torch.no_grad()
def sample(model: nn.Module, prompts: list[str], steps: int, guidance: float = 4.0, seed: int = 0) -> torch.Tensor:
    """Latents [n, 8, 16, 16] by DDIM with classifier-free guidance."""
    scheduler = networks.build_scheduler()
    scheduler.set_timesteps(steps)
    ids = model.tokenizer(
        prompts + [""] * len(prompts), padding="max_length", max_length=32, truncation=True, return_tensors="pt"
    ).input_ids
    hidden = model.text_encoder(ids)[0]
    z = torch.randn(len(prompts), 8, 16, 16, generator=torch.Generator().manual_seed(seed))
    for t in scheduler.timesteps:
        yes, no = model.unet(torch.cat([z, z]), t, hidden).sample.chunk(2)
        z = scheduler.step(no + guidance * (yes - no), t, z).prev_sample
    return z
