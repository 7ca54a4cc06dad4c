"""Evaluates the model: prompt adherence, sharpness, and distance to rendered pictures.

``python -m models.tiny_scenes.evaluate`` trains a small classifier on rendered pictures, tests it on unseen renders,
and then applies it to generated pictures: 500 of all combinations, 500 of combinations held out from training, and 500
of those with reworded prompts. Prints the tables for the model card.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.tiny_scenes import store
from models.tiny_scenes.classifier import Classifier, train_classifier
from models.tiny_scenes.export import FOLDER
from models.tiny_scenes.latents import pixels, to_tensor
from models.tiny_scenes.scenes import Scene, all_scenes, reworded

OUTLINE = 0.03  # the share of a picture's pixels with the largest gradients that counts as outlines


@torch.inference_mode()
def score(model: Classifier, pictures: torch.Tensor, scenes: list[Scene]) -> dict[str, float]:
    """Returns the accuracy of each head, and of all three at once."""
    targets = {n: torch.tensor([words.index(getattr(s, n)) for s in scenes]) for n, words in store.TABLES.items()}
    logits = [model(part) for part in pictures.split(100)]
    right = {n: torch.cat([out[n].argmax(1) for out in logits]) == targets[n] for n in targets}
    result = {name: r.float().mean().item() for name, r in right.items()}
    return result | {"all three": torch.stack(list(right.values())).all(0).float().mean().item()}


def sharpness(pictures: torch.Tensor) -> float:
    """Returns the mean brightness gradient at outlines (the largest 3 % of each picture), in 1/255 per pixel."""
    grey = pictures.mean(1) * 127.5
    gradient = (grey.diff(dim=1)[:, :, :-1].square() + grey.diff(dim=2)[:, :-1].square()).sqrt().flatten(1)
    return gradient.topk(int(OUTLINE * gradient.shape[1])).values.mean().item()


@torch.inference_mode()
def kernel_distance(model: Classifier, some: torch.Tensor, others: torch.Tensor) -> float:
    """Returns the KID (Binkowski et al. 2018) x 1000 on the classifier's features.

    This is the unbiased squared MMD with a cubic kernel. Each feature is divided by its standard deviation over
    ``others``.
    """

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def without_itself(k: torch.Tensor) -> torch.Tensor:
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    x, y = (torch.cat([model.features(part) for part in p.split(100)]).double() for p in (some, others))
    scale = y.std(0).clamp(min=1e-6)
    x, y = x / scale, y / scale
    return 1000 * (without_itself(kernel(x, x)) + without_itself(kernel(y, y)) - 2 * kernel(x, y).mean()).item()


def generate(prompts: list[str], seed: int, steps: int, guidance_scale: float, folder: Path) -> list[Image.Image]:
    """Generates the pictures with the workbench's own batching, the k-th with seed ``seed + k``."""
    from lib.settings import Settings
    from lib.text_to_image.batch import Batch
    from lib.text_to_image.model_loading import load
    from lib.text_to_image.models import Source
    from lib.text_to_image.request import Request

    model = load(Source(name="tiny-scenes", folder=folder), Settings(device="auto", compile_unet=False))
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), 16):
        batch = Batch(model, limit=32)
        requests = (
            Request(prompt=prompt, steps=steps, guidance_scale=guidance_scale, seed=seed + start + k)
            for k, prompt in enumerate(prompts[start : start + 16])
        )
        rows = [batch.join(model.resolve(request)) for request in requests]
        while batch.rows:
            batch.step()
        pictures += batch.decode(rows)
    return pictures


def arguments() -> argparse.Namespace:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weights", type=Path, default=FOLDER)
    ap.add_argument("--classifier", type=Path, default=Path("runs/tiny_scenes/classifier.pt"))
    ap.add_argument("--classifier-steps", type=int, default=3000)
    ap.add_argument("--classifier-pictures", type=int, default=40_000)
    ap.add_argument("--pictures", type=int, default=500)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--guidance-scale", type=float, default=4.0)
    ap.add_argument("--seed", type=int, default=1000)
    ap.add_argument("--sheet", type=Path, help="also save the first 64 generated pictures here")
    return ap.parse_args()


def judge(args: argparse.Namespace) -> Classifier:
    """Returns the classifier: the saved one, or a newly trained one."""
    if not args.classifier.exists():
        args.classifier.parent.mkdir(parents=True, exist_ok=True)
        data = args.classifier.with_suffix(".store")
        store.draw(data, args.classifier_pictures, seed=1, scenes=all_scenes())
        torch.save(train_classifier(data, args.classifier_steps).state_dict(), args.classifier)
        data.unlink()
    model = Classifier().eval()
    model.load_state_dict(torch.load(args.classifier, map_location="cpu", weights_only=True))
    return model


def main() -> None:
    args = arguments()
    model, rng = judge(args), random.Random(args.seed)
    unseen = [s for s in all_scenes() if s.held_out]
    renders = rng.choices(all_scenes(), k=4 * args.pictures)
    rows = {
        "renders never seen (the classifier itself)": score(
            model, pixels(renders, [10**9 + k for k in range(len(renders))]), renders
        )
    }
    pools = {"all combinations": all_scenes(), "held out from training": unseen, "held out, in other words": unseen}
    figures: dict[str, dict[str, float]] = {}
    for name, pool in pools.items():
        scenes, began = rng.choices(pool, k=args.pictures), time.monotonic()
        prompts = [reworded(s, rng) if "words" in name else s.prompt for s in scenes]
        pictures = generate(prompts, args.seed, args.steps, args.guidance_scale, args.weights)
        generated, drawn = to_tensor(pictures), pixels(scenes, [2 * 10**9 + k for k in range(len(scenes))])
        # references show other scenes: pictures of the same scenes would bias the distance towards 0
        reference_scenes, control_scenes = (rng.choices(pool, k=args.pictures) for _ in range(2))
        reference, control = (
            pixels(members, [int(at) + k for k in range(len(members))])
            for at, members in ((3e9, reference_scenes), (4e9, control_scenes))
        )
        rows[f"generated, {name}"] = score(model, generated, scenes)
        figures[name] = {
            "sharpness": sharpness(generated) / sharpness(drawn),
            "KID": kernel_distance(model, generated, reference),
            "KID of renders": kernel_distance(model, control, reference),
        }
        print(f"{len(scenes)} pictures in {time.monotonic() - began:.0f} s", flush=True)
        if args.sheet and name == "all combinations":
            sheet = np.concatenate(
                [np.concatenate([np.asarray(p) for p in pictures[i : i + 8]], 1) for i in range(0, 64, 8)]
            )
            Image.fromarray(sheet).save(args.sheet)
    print("| pictures | " + " | ".join([*store.TABLES, "all three"]) + " |\n|" + "---|" * (len(store.TABLES) + 2))
    for name, result in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.1%}" for v in result.values()) + " |")
    print(
        "\n| generated | sharpness at outlines, of the renders' | KID to renders x 1000 | renders to renders |\n"
        "|---|---|---|---|"
    )
    for name, values in figures.items():
        print(f"| {name} | {values['sharpness']:.0%} | {values['KID']:.2f} | {values['KID of renders']:.2f} |")
    print(json.dumps({"scores": rows, "figures": figures}))


if __name__ == "__main__":
    main()
