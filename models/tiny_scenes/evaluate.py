"""Measures the model: is the object, the colour, the place what the prompt asked for?

``python -m models.tiny_scenes.evaluate`` trains a small classifier on the renderer's own pictures,
checks it on renders that it has not seen, and then lets it look at generated pictures: 500 over
all combinations and 500 over those that training never saw. Prints the table for the card.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from models.tiny_scenes.export import FOLDER
from models.tiny_scenes.latents import pixels, to_tensor
from models.tiny_scenes.renderer import render
from models.tiny_scenes.scenes import COLOURS, OBJECTS, PLACES, Scene, all_scenes

HEADS = {"object": list(OBJECTS), "colour": list(COLOURS), "place": list(PLACES)}


class Classifier(nn.Module):
    """128 x 128 RGB in -1..1 to logits for object, colour and place; about 0.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())

        self.body = nn.Sequential(block(3, 24), block(24, 48), block(48, 96), block(96, 128), block(128, 160))
        self.heads = nn.ModuleDict({name: nn.Linear(2 * 160, len(words)) for name, words in HEADS.items()})

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(F.avg_pool2d(pictures, 2))
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
        return {name: head(x) for name, head in self.heads.items()}


def labels(scenes: list[Scene]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([words.index(getattr(s, name)) for s in scenes]) for name, words in HEADS.items()}


def train_classifier(steps: int, batch: int = 64, seed: int = 1) -> Classifier:
    """On fresh renders of all combinations, blurred and noisy half of the time, so that it looks at
    what is there and not at how crisp it is. Another process draws while this one learns."""
    torch.manual_seed(seed)
    model, block = Classifier(), 25
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    with multiprocessing.Pool(1) as pool:
        pending = pool.starmap_async(_drawn, [(batch, seed * 10**6 + k) for k in range(block)])
        for step in range(steps):
            if step % block == 0:
                ready = pending.get()
                pending = pool.starmap_async(_drawn, [(batch, seed * 10**6 + step + block + k) for k in range(block)])
            pictures, scenes = ready[step % block]
            x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)
            if step % 2:
                x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear") + 0.04 * torch.randn_like(x)
            out = model(x)
            losses = [F.cross_entropy(out[name], target) for name, target in labels(scenes).items()]
            loss = torch.stack(losses).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 100 == 0:
                print(f"classifier {step} loss {loss.item():.3f}", flush=True)
    return model.eval()


def _drawn(count: int, seed: int) -> tuple[np.ndarray, list[Scene]]:
    rng = random.Random(seed)
    scenes = rng.choices(all_scenes(), k=count)
    return np.stack([np.asarray(render(scene, rng)) for scene in scenes]), scenes


@torch.inference_mode()
def score(model: Classifier, pictures: torch.Tensor, scenes: list[Scene]) -> dict[str, float]:
    """Shares of right answers, for each head and for all three at once."""
    targets = labels(scenes)
    logits = [model(part) for part in pictures.split(100)]
    right = {n: torch.cat([out[n].argmax(1) for out in logits]) == targets[n] for n in HEADS}
    result = {name: r.float().mean().item() for name, r in right.items()}
    return result | {"all three": torch.stack(list(right.values())).all(0).float().mean().item()}


def generate(scenes: list[Scene], seed: int, steps: int, guidance_scale: float, folder: Path) -> list[Image.Image]:
    """By the workbench's own batch, with each scene's plainest prompt."""
    from lib.settings import Settings
    from lib.text_to_image.batch import Batch
    from lib.text_to_image.models import Source, load
    from lib.text_to_image.request import Request

    model = load(Source(name="tiny-scenes", folder=folder), Settings(device="auto"))
    pictures: list[Image.Image] = []
    for start in range(0, len(scenes), 16):
        batch = Batch(model, limit=32)
        rows = [
            batch.join(
                model.settle(Request(prompt=s.prompt, steps=steps, guidance_scale=guidance_scale, seed=seed + start + k))
            )
            for k, s in enumerate(scenes[start : start + 16])
        ]
        while batch.rows:
            batch.step()
        pictures += batch.decode(rows)
    return pictures


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weights", type=Path, default=FOLDER)
    ap.add_argument("--classifier", type=Path, default=Path("runs/tiny_scenes/classifier.pt"))
    ap.add_argument("--classifier-steps", type=int, default=1200)
    ap.add_argument("--pictures", type=int, default=500)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--guidance-scale", type=float, default=4.0)
    ap.add_argument("--seed", type=int, default=1000)
    ap.add_argument("--sheet", type=Path, help="also save the first 64 generated pictures here")
    args = ap.parse_args()

    if args.classifier.exists():
        model = Classifier().eval()
        model.load_state_dict(torch.load(args.classifier, weights_only=True))
    else:
        model = train_classifier(args.classifier_steps)
        args.classifier.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), args.classifier)

    rng = random.Random(args.seed)
    rows, unseen = {}, [s for s in all_scenes() if s.held_out]
    renders = rng.choices(all_scenes(), k=2000)
    rows["renders never seen (the classifier itself)"] = score(
        model, pixels(renders, [10**9 + k for k in range(len(renders))]), renders
    )
    for name, pool in (("generated, all combinations", all_scenes()), ("generated, held out from training", unseen)):
        scenes, began = rng.choices(pool, k=args.pictures), time.monotonic()
        pictures = generate(scenes, args.seed, args.steps, args.guidance_scale, args.weights)
        rows[name] = score(model, to_tensor(pictures), scenes)
        print(f"{len(scenes)} pictures in {time.monotonic() - began:.0f} s", flush=True)
        if args.sheet and name.endswith("combinations"):
            sheet = np.concatenate(
                [np.concatenate([np.asarray(p) for p in pictures[i : i + 8]], 1) for i in range(0, 64, 8)]
            )
            Image.fromarray(sheet).save(args.sheet)
    print("| pictures | " + " | ".join([*HEADS, "all three"]) + " |\n|" + "---|" * (len(HEADS) + 2))
    for name, result in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.1%}" for v in result.values()) + " |")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
