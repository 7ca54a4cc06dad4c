"""Pictures rendered before training, in one safetensors file, so that training needs no rendering or tokenizing.

For ``n`` pictures: ``pictures`` uint8 [n, 3, 128, 128]; ``latents`` float16 [n, 8, 16, 16]; ``masks`` bool [n, 1, 16,
16], true where the object is; ``captions`` int16 [n, 8, 32], token ids of eight captions per picture; ``labels`` uint8
[n, 3], indices of object, color and place. About 54 kB per picture. By default, held-out scenes are excluded.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.tiny_scenes.latents import LatentSpace, to_tensor
from models.tiny_scenes.renderer import render_with_mask
from models.tiny_scenes.scenes import COLOURS, OBJECTS, PLACES, Scene, all_scenes, caption
from models.tiny_scenes.tokenizer import MAX_TOKENS, build_tokenizer

TABLES = {"object": list(OBJECTS), "colour": list(COLOURS), "place": list(PLACES)}
SEEN = [scene for scene in all_scenes() if not scene.held_out]
CAPTIONS = 8  # per picture
CHUNK = 250


def draw(path: Path, count: int, seed: int = 0, scenes: list[Scene] = SEEN) -> None:
    """Renders a store of ``count`` pictures on all cores, with every scene equally often."""
    shuffled = [scenes[i % len(scenes)] for i in range(count)]
    random.Random(seed).shuffle(shuffled)
    parts = [(shuffled[i : i + CHUNK], seed * count + i) for i in range(0, count, CHUNK)]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # parallelism comes from the processes below
    tensors: dict[str, torch.Tensor] = {}
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for k, part in enumerate(pool.imap(_drawn, parts)):
            for name, rows in part.items():
                if k == 0:
                    tensors[name] = torch.empty(count, *rows.shape[1:], dtype=torch.from_numpy(rows).dtype)
                tensors[name][k * CHUNK : k * CHUNK + len(rows)] = torch.from_numpy(rows)
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished)
    unfinished.replace(path)


def read(path: Path, device: torch.device, *names: str) -> tuple[torch.Tensor, ...]:
    """Returns the named tensors."""
    with safe_open(path, "pt", device=str(device)) as file:
        return tuple(file.get_tensor(name) for name in names)


def _drawn(part: tuple[list[Scene], int]) -> dict[str, np.ndarray]:
    """Renders a chunk of the store in a child process. Returns NumPy arrays, which are passed between processes."""
    scenes, seed = part
    torch.set_num_threads(1)
    rng, tokenizer = random.Random(f"captions {seed}"), build_tokenizer()
    drawn = [render_with_mask(scene, random.Random(seed + k)) for k, scene in enumerate(scenes)]
    pictures = [picture for picture, _ in drawn]
    texts = ["" if rng.random() < 0.1 else caption(scene, rng) for scene in scenes for _ in range(CAPTIONS)]
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="np").input_ids
    return {
        "pictures": np.ascontiguousarray(np.stack([np.asarray(p) for p in pictures]).transpose(0, 3, 1, 2)),
        "latents": LatentSpace.load().encode(to_tensor(pictures)).half().numpy(),
        "masks": np.stack([np.asarray(mask) for _, mask in drawn])[:, None] > 4,
        "captions": ids.astype(np.int16).reshape(len(scenes), CAPTIONS, MAX_TOKENS),
        "labels": np.array(
            [[words.index(getattr(scene, name)) for name, words in TABLES.items()] for scene in scenes], np.uint8
        ),
    }
