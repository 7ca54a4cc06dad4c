"""Trains one part of the model: ``python -m models.tiny_scenes.train decoder|encoder|denoiser``.

The three parts share only the latent space, so they can train at the same time. Each writes TensorBoard
scalars and sample grids to ``<run>/logs`` and its averaged weights to ``<run>/<part>.safetensors``. A run that
was stopped resumes from its last checkpoint. ``export`` then packs a diffusers folder.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from models.tiny_scenes import networks, store
from models.tiny_scenes.networks import Denoiser
from models.tiny_scenes.parts import DecoderPart, DenoiserPart, EncoderPart, pretrain_text
from models.tiny_scenes.samples import log_samples

SAVE_SECONDS, SAMPLE_SECONDS = 60.0, 600.0


def start_from(model: nn.Module, start: Path) -> None:
    """Loads the matching networks of a saved pipeline, or the ``.safetensors`` of a part."""
    if start.is_file():
        model.load_state_dict(load_file(start))
        return
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(start)
    if isinstance(model, Denoiser):
        model.unet.load_state_dict(pipeline.unet.state_dict())
        model.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())
    else:
        model.load_state_dict(pipeline.vae.state_dict())


class Average:
    """The exponential moving average of a model's weights, which are the ones that ship."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.shadow = {k: v.detach().float().clone() for k, v in model.state_dict().items()}
        self._decay, self._live = decay, dict(model.state_dict())

    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        names = [name for name, value in self._live.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([self.shadow[n] for n in names], [self._live[n].float() for n in names], 1 - decay)


def rate_at(progress: float, step: int, highest: float) -> float:
    """Returns the learning rate: warm-up over 200 steps, constant, then cosine decay to 2 % over the last 40 %."""
    tail = max(0.0, (progress - 0.6) / 0.4)
    return highest * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * (1 + math.cos(math.pi * tail)) / 2)


def arguments() -> argparse.Namespace:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("part", choices=("decoder", "encoder", "denoiser"))
    ap.add_argument("--run", type=Path, default=Path("runs/tiny_scenes"))
    ap.add_argument("--steps", type=int, default=12_000)
    ap.add_argument("--minutes", type=float, default=1e9, help="stop (and anneal the rate) by then")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--rate", type=float, default=1e-3)
    ap.add_argument("--pictures", type=int, default=40_000, help="to draw beforehand, where <run>/store is not there yet")
    ap.add_argument("--text-steps", type=int, default=600, help="of the text encoder alone, before the denoiser")
    ap.add_argument("--start", type=Path, help="weights to go on from: a diffusers folder, or <run>/<part>.safetensors")
    ap.add_argument("--denoiser", type=Path, help="of <run>/denoiser.safetensors: the decoder meets its latents, too")
    ap.add_argument("--critic-from", type=int, help="the step from which a critic looks at what is decoded")
    ap.add_argument("--decay", type=float, default=0.999)
    ap.add_argument("--compile", action="store_true", help="the network by torch.compile")
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--seed", type=int, default=0)
    return ap.parse_args()


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.run.mkdir(parents=True, exist_ok=True)
    data = args.run / "store.safetensors"
    if not data.exists():
        store.draw(data, args.pictures)
        print(f"{args.pictures} pictures drawn", flush=True)
    mixed = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    accelerator = Accelerator(mixed_precision=mixed, log_with="tensorboard", project_dir=args.run / "logs")
    accelerator.init_trackers(args.part)
    device = accelerator.device
    torch.manual_seed(args.seed)

    model: nn.Module = Denoiser() if args.part == "denoiser" else networks.build_vae()
    state_path, first = args.run / f"{args.part}.state.pt", 0
    state = torch.load(state_path, map_location="cpu", weights_only=True) if state_path.exists() else None
    if state:
        model.load_state_dict(state["model"])
        first = state["step"]
    elif args.start:
        start_from(model, args.start)
    elif isinstance(model, Denoiser):
        pretrain_text(model, data, device, args.text_steps, lambda k, loss: print(f"text {k} loss {loss:.3f}", flush=True))
    model.to(device, memory_format=torch.channels_last)
    part: DenoiserPart | DecoderPart | EncoderPart
    if isinstance(model, Denoiser):
        part = DenoiserPart(model, data, device)
    elif args.part == "decoder":
        part = DecoderPart(model, data, device, args.denoiser, args.critic_from)
    else:
        part = EncoderPart(model, data, device)
    torch.manual_seed(args.seed + first)

    optimizer = torch.optim.AdamW(
        part.trained, lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=device.type == "cuda"
    )
    average = Average(model, args.decay)
    if state:
        optimizer.load_state_dict(state["optimizer"])
        for name, value in state["shadow"].items():
            average.shadow[name].copy_(value)
    optimizer = accelerator.prepare(optimizer)
    forward: Callable = torch.compile(model) if args.compile else model

    def save(step: int) -> None:
        weights, unfinished = args.run / f"{args.part}.safetensors", args.run / f"{args.part}.part"
        save_file({k: v.contiguous().cpu() for k, v in average.shadow.items()}, unfinished)
        unfinished.replace(weights)  # atomic: a run killed while saving keeps its previous checkpoint
        current = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "shadow": average.shadow, "step": step}
        torch.save(current, unfinished)
        unfinished.replace(state_path)

    started = saved = sampled = time.monotonic()
    mean, steps_done = None, first
    for step in range(first, args.steps):
        progress = max((time.monotonic() - started) / 60 / args.minutes, step / args.steps)
        if progress >= 1:
            break
        rate = rate_at(progress, step, args.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            loss = part.loss(forward, args.batch, step)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(part.trained, 1.0)
        optimizer.step()
        average.update(step)
        steps_done = step + 1
        # stays on the device: .item() would synchronize with it
        mean = loss.detach() if mean is None else mean.lerp_(loss.detach(), 0.02)
        if step % 100 == 0:
            accelerator.log({f"{args.part}/loss": mean.item(), f"{args.part}/rate": rate}, step=step)
            print(f"{step} loss {mean.item():.4f} rate {rate:.1e} {time.monotonic() - started:.0f}s", flush=True)
        if time.monotonic() - saved > SAVE_SECONDS:
            save(steps_done)
            saved = time.monotonic()
        if time.monotonic() - sampled > SAMPLE_SECONDS:
            log_samples(accelerator, args.part, average.shadow, args.run, steps_done)
            sampled = time.monotonic()
    save(steps_done)
    log_samples(accelerator, args.part, average.shadow, args.run, steps_done)
    accelerator.end_training()


if __name__ == "__main__":
    main()
