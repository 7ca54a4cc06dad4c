"""Renders scenes: the only source of training pictures, and the reference of the evaluation.

``render(scene, rng)`` is deterministic for a given random generator, which determines positions, clouds, windows and
waves.
"""

from __future__ import annotations

import random

from PIL import Image, ImageChops, ImageDraw

from models.tiny_scenes import objects, places
from models.tiny_scenes.pen import RGB, Pen
from models.tiny_scenes.scenes import Scene

SIDE = 128
SCALE = {"small": 0.16, "medium": 0.24, "large": 0.34}
FLOATS = {"balloon": 0.1, "fish": 0.08, "butterfly": 0.1}


def render(scene: Scene, rng: random.Random) -> Image.Image:
    """Returns an RGB picture of 128 x 128 pixels, drawn at twice the size and downsampled."""
    return render_with_mask(scene, rng)[0]


def render_with_mask(scene: Scene, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    """Returns the picture, and a grayscale picture of 16 x 16 that is above 0 where the object or its shadow is."""
    picture = places.paint(scene.place, rng)
    scale = SCALE[scene.size] * rng.uniform(0.94, 1.06) * places.S
    room = 0.5 - 1.02 * scale / places.S
    x = (0.5 + max(-room, min(room, rng.uniform(-0.12, 0.12)))) * places.S
    y = (places.GROUND + {"small": 0.0, "medium": 0.05, "large": 0.1}[scene.size] + rng.uniform(-0.02, 0.02)) * places.S
    empty = picture.copy()
    lift = FLOATS.get(scene.object, 0.0) * places.S
    shade = Image.new("L", picture.size, 0)
    ImageDraw.Draw(shade).ellipse((x - 0.8 * scale, y - 0.1 * scale, x + 0.8 * scale, y + 0.12 * scale), fill=80)
    picture.paste((20, 16, 40), mask=shade)
    pen = Pen(ImageDraw.Draw(picture), x=x, y=y - lift, scale=scale, flip=rng.random() < 0.5, colour=RGB[scene.colour])
    objects.DRAW[scene.object](pen)
    changed = ImageChops.difference(picture, empty).convert("L").resize((SIDE // 8, SIDE // 8), Image.Resampling.BOX)
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX), changed
