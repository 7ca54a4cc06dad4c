"""Trains one part of the model: ``python -m models.tiny_scenes.train decoder|encoder|denoiser``.

The three parts share only the latent space, so they can train at the same time on different
cores (``taskset -c 0 … --threads 1``) or one after another on a GPU. Each writes TensorBoard
scalars and sample grids to ``<run>/logs`` and its averaged weights to ``<run>/<part>.safetensors``;
a run that was stopped goes on where it was. ``export`` then packs a diffusers folder.

A few lines over 300 because the three losses and the one loop they share are read side by side.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.utils import make_grid

from models.tiny_scenes import networks
from models.tiny_scenes.latents import LatentSpace, pixels, to_tensor
from models.tiny_scenes.renderer import render_with_mask
from models.tiny_scenes.scenes import COLOURS, OBJECTS, PLACES, Scene, all_scenes, caption
from models.tiny_scenes.tokenizer import build_tokenizer

SEEN = [s for s in all_scenes() if not s.held_out]


class Denoiser(nn.Module):
    """Text encoder and UNet, trained together (v-prediction)."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.text_encoder = networks.build_text_encoder(self.tokenizer)
        self.unet = networks.build_unet()

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.unet(noisy, timesteps, self.text_encoder(ids)[0]).sample


def decoder_loss(vae: nn.Module, pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """L1 on pixels and on their differences; noise on the latents, as the denoiser leaves some."""
    noise = torch.rand(len(latents), 1, 1, 1, device=latents.device) * 0.15
    out = vae.decoder(vae.post_quant_conv(latents + noise * torch.randn_like(latents)))
    edges = sum(F.l1_loss(out.diff(dim=d), pictures.diff(dim=d)) for d in (2, 3))
    return F.l1_loss(out, pictures) + 0.5 * F.mse_loss(out, pictures) + 0.5 * edges


def encoder_loss(vae: nn.Module, pictures: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """The mean is to be the latents; the log variance a constant, e^-6."""
    mean, log_variance = vae.quant_conv(vae.encoder(pictures)).chunk(2, dim=1)
    return F.mse_loss(mean, latents) + 0.01 * (log_variance + 6).square().mean()


def denoiser_loss(
    model: Denoiser, clean: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """Velocity (Salimans & Ho 2022, eq. 10 ff.), capped at high signal-to-noise ratios as by Hang et
    al. 2023. The object counts five times: it is a tenth of the picture and most of the caption."""
    # One draw in each of n equal ranges: the loss is less noisy than with independent ones. The
    # power favours the noisy end, where it is decided what goes where and in which colour.
    n = len(clean)
    u = (torch.arange(n, device=clean.device) + torch.rand(n, device=clean.device)) / n
    t = (u**0.65 * 1000).long()
    a = alphas[t][:, None, None, None]
    noise = torch.randn_like(clean)
    out = model(a.sqrt() * clean + (1 - a).sqrt() * noise, t, ids)
    target = a.sqrt() * noise - (1 - a).sqrt() * clean
    snr = a / (1 - a)
    weight = (snr.clamp(max=5) + 1) / (snr + 1) * (1 + 4 * mask)
    return (weight * (out - target).square()).mean()


def start_from(model: nn.Module, folder: Path) -> None:
    """Loads the matching parts of a saved pipeline."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    if isinstance(model, Denoiser):
        model.unet.load_state_dict(pipeline.unet.state_dict())
        model.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())
    else:
        model.load_state_dict(pipeline.vae.state_dict())


def pretrain_text(model: Denoiser, steps: int, seed: int, log: Callable[[int, float], None]) -> None:
    """Teaches the text encoder what captions say before it meets the denoiser (as CLIP's was).

    Three linear heads, thrown away afterwards, read object, colour and place from every
    position from the end token on; there the causal encoder has seen the whole caption.
    """
    rng, encoder = random.Random(seed), model.text_encoder
    tables = (list(OBJECTS), list(COLOURS), list(PLACES))
    heads = nn.ModuleList(nn.Linear(networks.WIDTH, len(t)) for t in tables)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=1e-3, weight_decay=0.01)
    for step in range(steps):
        scenes = rng.choices(SEEN, k=64)
        texts = [caption(s, rng) for s in scenes]
        ids = model.tokenizer(texts, padding="max_length", truncation=True, max_length=32, return_tensors="pt").input_ids
        hidden, after = encoder(ids)[0], (ids == 1).float()
        loss = torch.zeros(())
        for head, table, name in zip(heads, tables, ("object", "colour", "place"), strict=True):
            labels = torch.tensor([table.index(getattr(s, name)) for s in scenes])
            each = F.cross_entropy(head(hidden).transpose(1, 2), labels[:, None].expand(-1, ids.shape[1]), reduction="none")
            loss = loss + (each * after).sum() / after.sum()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            log(step, loss.item())


def picture_batches(space: LatentSpace, batch: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless fresh pictures and their latents."""
    rng = random.Random(seed)
    scenes = all_scenes()
    for _k in itertools.count():
        x = pixels(rng.choices(scenes, k=batch), [rng.getrandbits(40) for _ in range(batch)])
        yield x, space.encode(x)


def latent_store(space: LatentSpace, count: int, seed: int) -> tuple[list[Scene], torch.Tensor, torch.Tensor]:
    """``count`` rendered scenes that are not held out, as fp16 latents [count, 8, 16, 16], and
    where their objects are: bool [count, 1, 16, 16]."""
    scenes = [SEEN[i % len(SEEN)] for i in range(count)]
    random.Random(seed).shuffle(scenes)
    parts = [(space, scenes[i : i + 256], seed * count + i) for i in range(0, count, 256)]
    with multiprocessing.Pool() as pool:
        latents, masks = zip(*pool.starmap(_drawn, parts), strict=True)
    return scenes, torch.from_numpy(np.concatenate(latents)), torch.from_numpy(np.concatenate(masks))


def _drawn(space: LatentSpace, scenes: list[Scene], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of the store, in a process of its own; NumPy arrays, as they cross it."""
    torch.set_num_threads(1)
    drawn = [render_with_mask(scene, random.Random(seed + k)) for k, scene in enumerate(scenes)]
    masks = np.stack([np.asarray(mask) for _, mask in drawn])[:, None] > 4
    return space.encode(to_tensor([picture for picture, _ in drawn])).half().numpy(), masks


@torch.no_grad()
def average(shadow: dict[str, torch.Tensor], model: nn.Module, step: int, decay: float) -> None:
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            shadow[name].lerp_(value.float(), 1 - decay)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("part", choices=("decoder", "encoder", "denoiser"))
    ap.add_argument("--run", type=Path, default=Path("runs/tiny_scenes"))
    ap.add_argument("--steps", type=int, default=12_000)
    ap.add_argument("--minutes", type=float, default=1e9, help="stop (and anneal the rate) by then")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--rate", type=float, default=1e-3)
    ap.add_argument("--pictures", type=int, default=40_000, help="rendered beforehand, for the denoiser")
    ap.add_argument("--text-steps", type=int, default=600, help="of the text encoder alone, before the denoiser")
    ap.add_argument("--start", type=Path, help="a diffusers folder whose weights to go on from, e.g. the shipped one")
    ap.add_argument("--decay", type=float, default=0.999)
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    mixed = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    accelerator = Accelerator(mixed_precision=mixed, log_with="tensorboard", project_dir=args.run / "logs")
    accelerator.init_trackers(args.part)
    space = LatentSpace.load()

    model: nn.Module = Denoiser() if args.part == "denoiser" else networks.build_vae()
    if args.part == "denoiser":
        trained = list(model.parameters())
    else:
        pair = (model.decoder, model.post_quant_conv) if args.part == "decoder" else (model.encoder, model.quant_conv)
        trained = [p for m in pair for p in m.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01)
    state_path, first = args.run / f"{args.part}.state.pt", 0
    if args.start and not state_path.exists():
        start_from(model, args.start)
    elif isinstance(model, Denoiser) and not state_path.exists():
        pretrain_text(
            model, args.text_steps, args.seed, lambda step, loss: print(f"text {step} loss {loss:.3f}", flush=True)
        )
    shadow = {k: v.detach().float().clone() for k, v in model.state_dict().items()}
    if state_path.exists():
        state = torch.load(state_path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        shadow, first = state["shadow"], state["step"]
    model, optimizer = accelerator.prepare(model, optimizer)
    bare, device = accelerator.unwrap_model(model), accelerator.device
    shadow = {k: v.to(device) for k, v in shadow.items()}

    if args.part == "denoiser":
        scenes, store, masks = latent_store(space, args.pictures, args.seed)
        store, masks, rng = store.to(device), masks.to(device), random.Random(args.seed + first)
        alphas = networks.build_scheduler().alphas_cumprod.to(device)
        print(f"{len(scenes)} pictures rendered", flush=True)
    else:
        batches = picture_batches(space, args.batch, args.seed + 1 + first)

    def loss_of_batch() -> torch.Tensor:
        if args.part != "denoiser":
            x, z = (t.to(device) for t in next(batches))
            return (decoder_loss if args.part == "decoder" else encoder_loss)(bare, x, z)
        rows = [rng.randrange(len(scenes)) for _ in range(args.batch)]
        texts = ["" if rng.random() < 0.1 else caption(scenes[i], rng) for i in rows]
        ids = bare.tokenizer(texts, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
        return denoiser_loss(model, store[rows].float(), masks[rows], ids.input_ids.to(device), alphas)

    def save(step: int) -> None:
        weights, unfinished = args.run / f"{args.part}.safetensors", args.run / f"{args.part}.part"
        save_file({k: v.contiguous().cpu() for k, v in shadow.items()}, unfinished)
        unfinished.replace(weights)  # a run that is killed while it saves keeps what it saved before
        state = {"model": bare.state_dict(), "optimizer": optimizer.state_dict(), "shadow": shadow, "step": step}
        torch.save(state, unfinished)
        unfinished.replace(state_path)

    started, mean, done = time.monotonic(), 0.0, first
    for step in range(first, args.steps):
        elapsed = (time.monotonic() - started) / 60 / args.minutes
        progress = max(elapsed, step / args.steps)
        if progress >= 1:
            break
        # warm up, hold, then come down over the last 40 % (a cosine from 1 to 0.02)
        tail = max(0.0, (progress - 0.6) / 0.4)
        rate = args.rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * (1 + math.cos(math.pi * tail)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            loss = loss_of_batch()
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average(shadow, bare, step, args.decay)
        done = step + 1
        mean = loss.item() if step == first else 0.98 * mean + 0.02 * loss.item()
        if step % 20 == 0:
            accelerator.log({f"{args.part}/loss": mean, f"{args.part}/rate": rate}, step=step)
        if step % 100 == 0:
            print(f"{step} loss {mean:.4f} rate {rate:.1e} {time.monotonic() - started:.0f}s", flush=True)
        if step % 500 == 499:
            save(step + 1)
            log_samples(accelerator, args.part, bare, shadow, space, args.run, step)
    save(done)
    accelerator.end_training()


@torch.no_grad()
def log_samples(
    accelerator: Accelerator, part: str, model: nn.Module, shadow: dict, space: LatentSpace, run: Path, step: int
) -> None:
    """A grid for TensorBoard: reconstructions by the decoder, or eight prompts by the denoiser."""
    if part == "encoder":
        return
    averaged = Denoiser() if part == "denoiser" else networks.build_vae()
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
            from models.tiny_scenes.export import trained_vae

            grid = trained_vae(run).decode(latents).sample
    picture = make_grid(grid.clamp(-1, 1) / 2 + 0.5, nrow=8)
    accelerator.get_tracker("tensorboard").log_images({f"{part}/samples": picture[None].numpy()}, step=step)


@torch.no_grad()
def sample(model: Denoiser, prompts: list[str], steps: int, guidance: float = 4.0, seed: int = 0) -> torch.Tensor:
    """Latents [n, 8, 16, 16] by DDIM with classifier-free guidance, for the sample grids."""
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


if __name__ == "__main__":
    main()
