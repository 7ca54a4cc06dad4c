"""The figures of docs/edge.md: how often windows of 200 are flagged, unchanged ones and shifted ones.

Pictures are new ones of ``objects``, stored as its own are. Features are computed once; windows are drawn from them.
With ``-s`` the table is printed.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lib.train import datasets, experiment
from lib.train.monitoring.drift import FIRST_WINDOW, LEVEL, WINDOW, ks, mmd
from lib.train.monitoring.reference import FOLDER, ImageNetFeatures, Reference, features_of, make
from lib.train.network_cache import LoadedRun
from lib.train.recipe import Recipe
from lib.train.runs import Run, Runs
from models.tiny_scenes.renderer import render
from models.tiny_scenes.scenes import OBJECTS, all_scenes

pytestmark = pytest.mark.slow
POOL, SHIFTED, WINDOWS, OTHERS = 1200, 300, 100, 20
Pictures = list[np.ndarray]


def stored(image: Image.Image, quality: int = 92) -> np.ndarray:
    """As a file of the data set, decoded again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def unchanged() -> tuple[Pictures, np.ndarray]:
    """New pictures of the same source, and their classes."""
    rng, names = random.Random("new"), list(OBJECTS)
    scenes = {name: [s for s in all_scenes() if s.object == name and not s.held_out] for name in names}
    labels = np.arange(POOL) % len(names)
    drawn = [render(rng.choice(scenes[names[k]]), random.Random(f"new/{n}")) for n, k in enumerate(labels)]
    return [stored(image) for image in drawn], labels


def noisy(picture: np.ndarray, deviation: float = 20) -> Image.Image:
    noise = np.random.default_rng(int(picture.sum())).normal(0, deviation, picture.shape)
    return Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8))


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur, radius 1": lambda p: stored(Image.fromarray(p).filter(ImageFilter.GaussianBlur(1))),
    "blur, radius 2": lambda p: stored(Image.fromarray(p).filter(ImageFilter.GaussianBlur(2))),
    "inverted": lambda p: stored(Image.fromarray(255 - p)),
    "JPEG, quality 10": lambda p: stored(Image.fromarray(p), 10),
    "noise, deviation 20": lambda p: stored(noisy(p)),
}
ASKED = ("blur, radius 1", "blur, radius 2", "inverted", "3 of 12 classes", "another data set (digits)")


@dataclass
class Pool:
    """Both kinds of features, and the share of right answers where there are classes."""

    inputs: np.ndarray
    model: np.ndarray
    accuracy: float | None = None

    def only(self, rows: np.ndarray) -> Pool:
        return Pool(self.inputs[rows], self.model[rows], self.accuracy)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Reference, dict[str, Pool]]]:
    home = tmp_path_factory.mktemp("figures")
    data, recipe = datasets.make("objects", home / "objects"), Recipe(epochs=2)
    about = {"name": "objects", "fingerprint": data.fingerprint}
    run = Runs(home / "runs").new("objects", {"recipe": recipe.as_dict(), "data": about})
    for _ in experiment.run_training(run, recipe, experiment.RunContext(data=data, cache=data.cache, trackers=())):
        pass
    network, features = LoadedRun(run, ()), ImageNetFeatures()
    make(run, data, network, features, lambda *_: None)
    reference = Reference.load(run.folder / FOLDER)
    assert reference is not None

    def pool(some: Pictures, labels: Sequence[int] | None = None) -> Pool:
        parts = [features_of(some[at : at + 64], network, features) for at in range(0, len(some), 64)]
        inputs, model = (np.concatenate(kind) for kind in zip(*parts, strict=True))
        found = None if labels is None else float((_labels(network, some) == np.asarray(labels)).mean())
        return Pool(reference.inputs_basis(inputs), reference.model_basis(model), found)

    new, labels = unchanged()
    pools = {"unchanged": pool(new, labels[:POOL])}
    for name, shift in SHIFTS.items():
        pools[name] = pool([shift(picture) for picture in new[:SHIFTED]], labels[:SHIFTED])
    pools["3 of 12 classes"] = pools["unchanged"].only(np.flatnonzero(labels < 3))
    pools["9 of 12 classes"] = pools["unchanged"].only(np.flatnonzero(labels >= 3))
    digits = datasets.make("digits", home / "digits")
    some = np.random.default_rng(0).permutation(len(digits.items))[:SHIFTED]
    pools["another data set (digits)"] = pool([np.asarray(Image.open(digits.path(k)).convert("RGB")) for k in some])
    yield run, reference, pools


def _labels(network: LoadedRun, some: Pictures) -> np.ndarray:
    """The renderer's order of classes from the network's, which is that of the alphabet."""
    order = {name: number for number, name in enumerate(OBJECTS)}
    found = network.classifier.probabilities(np.stack(some)).argmax(axis=1)
    return np.array([order[network.classes[k]] for k in found])


def flagged(reference: Reference, pool: Pool, size: int, windows: int, seed: int) -> dict[str, float]:
    """The share of windows of ``size`` with p below the level, by test."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(len(pool.inputs))[:size] for _ in range(windows)]
    return {
        "inputs": float(np.mean([mmd(reference.inputs, pool.inputs[r]) < LEVEL for r in rows])),
        "model": float(np.mean([ks(reference.model, pool.model[r]) < LEVEL for r in rows])),
    }


def test_unchanged_windows_are_left_in_peace_and_shifted_ones_found(run) -> None:  # type: ignore[no-untyped-def]
    _, reference, pools = run
    table = {}
    for seed, (name, pool) in enumerate(pools.items()):
        count = WINDOWS if name == "unchanged" else OTHERS
        table[name] = {size: flagged(reference, pool, size, count, seed) for size in (FIRST_WINDOW, WINDOW)}
    print(f"\n| pictures | right | inputs, {FIRST_WINDOW} | inputs, {WINDOW} | model, {FIRST_WINDOW} | model, {WINDOW} |")
    for name, row in table.items():
        right = "–" if pools[name].accuracy is None else f"{pools[name].accuracy:.3f}"
        shares = [f"{row[size][kind]:.2f}" for kind in ("inputs", "model") for size in (FIRST_WINDOW, WINDOW)]
        print(f"| {name} | {right} | {' | '.join(shares)} |")
    for kind in ("inputs", "model"):
        assert table["unchanged"][WINDOW][kind] <= 0.02, (kind, table["unchanged"])
    for name in ASKED:
        assert table[name][WINDOW]["inputs"] >= 0.95, (name, table[name])
    assert table["another data set (digits)"][WINDOW]["model"] >= 0.95


def test_a_folder_s_first_pictures_would_be_no_reference(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The trap of class order, measured: without the drawing, unchanged windows are flagged."""
    _, _, pools = run
    pool = pools["unchanged"]
    order = np.argsort(np.arange(POOL) % len(OBJECTS), kind="stable")  # as a folder lists them
    some = Reference("", None, None, pool.inputs[order[:240]], pool.model[order[:240]])  # type: ignore[arg-type]
    found = flagged(some, pool, FIRST_WINDOW, OTHERS, 1)
    assert found["inputs"] > 0.5 and found["model"] > 0.5
