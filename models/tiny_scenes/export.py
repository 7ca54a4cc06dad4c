"""Packs a training run as a diffusers folder: ``python -m models.tiny_scenes.export``.

Weights are saved as fp16 safetensors, and loaded with ``from_pretrained`` as a check before the
old folder is replaced.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from models.tiny_scenes import networks
from models.tiny_scenes.networks import Denoiser, trained_vae

FOLDER = Path(__file__).parent / "weights"


def build_pipeline(run: Path) -> StableDiffusionPipeline:
    denoiser = Denoiser()
    denoiser.load_state_dict(load_file(run / "denoiser.safetensors"))
    return StableDiffusionPipeline(
        vae=trained_vae(run),
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=networks.build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--run", type=Path, default=Path("runs/tiny_scenes"))
    ap.add_argument("--to", type=Path, default=FOLDER)
    args = ap.parse_args()
    with tempfile.TemporaryDirectory(dir=args.to.parent) as scratch:
        staged = Path(scratch) / "weights"
        build_pipeline(args.run).to(torch.float16).save_pretrained(staged, safe_serialization=True)
        StableDiffusionPipeline.from_pretrained(staged)
        shutil.rmtree(args.to, ignore_errors=True)
        shutil.move(staged, args.to)
    size = sum(f.stat().st_size for f in args.to.rglob("*") if f.is_file())
    print(f"{args.to}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
