"""Scenes: their words, their captions, and the combinations held out from training.

Independent of rendering and neural networks. A scene is one object of one color and one size at one place; a caption
is one of many ways to ask for it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass

# The first name is the canonical one; the others are synonyms used in training captions.
OBJECTS: dict[str, tuple[str, ...]] = {
    "car": ("car", "racing car", "race car", "sports car", "automobile"),
    "house": ("house", "cottage", "home", "cabin"),
    "boat": ("boat", "sailing boat", "sailboat", "ship"),
    "rocket": ("rocket", "spaceship", "space rocket"),
    "balloon": ("balloon", "hot air balloon"),
    "fish": ("fish", "goldfish"),
    "cat": ("cat", "kitten", "kitty"),
    "flower": ("flower", "daisy", "blossom"),
    "mushroom": ("mushroom", "toadstool"),
    "umbrella": ("umbrella", "parasol"),
    "butterfly": ("butterfly",),
    "robot": ("robot", "android"),
}

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
    "black": ("black",),
    "white": ("white",),
}

PLACES: dict[str, tuple[str, ...]] = {
    "track": ("on a track", "on a race track", "on the race track", "on a road", "on the street"),
    "beach": ("on a beach", "on the beach", "at the beach", "by the sea"),
    "forest": ("in a forest", "in the forest", "in the woods"),
    "snow": ("in the snow", "in a snowy landscape", "in winter"),
    "desert": ("in the desert", "in a desert", "on the sand dunes"),
    "city": ("in the city at night", "in a city", "in the city", "in front of a skyline"),
    "mountains": ("in the mountains", "in front of mountains", "near a mountain"),
    "space": ("in space", "in outer space", "among the stars"),
    "sea": ("under water", "underwater", "under the sea"),
    "meadow": ("in a meadow", "on a meadow", "in a field of flowers", "in a garden"),
}

SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("", "medium", ""),
    "large": ("large", "big", "huge"),
}

PREFIXES = (
    "",
    "",
    "",
    "a photo of",
    "high quality photo of",
    "a high quality photo of",
    "a drawing of",
    "a picture of",
    "an image of",
    "an illustration of",
    "a painting of",
    "photo of",
)
FILLERS = ("beautiful", "cute", "nice", "pretty", "lovely", "funny")
SUFFIXES = ("high quality", "detailed", "beautiful", "sunny day", "best quality", "cartoon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One object of one color and size at one place (canonical names only)."""

    object: str
    colour: str
    place: str
    size: str

    @property
    def held_out(self) -> bool:
        """Whether the scene is one of the 10 % of (object, color, place) held out from training."""
        key = f"{self.object}/{self.colour}/{self.place}".encode()
        return int(hashlib.sha256(key).hexdigest(), 16) % 10 == 0

    @property
    def prompt(self) -> str:
        """The plainest prompt for this scene, e.g. ``a large red car on a track``."""
        size = "" if self.size == "medium" else self.size
        words = " ".join(w for w in (size, self.colour, self.object) if w)
        return f"{article(words)} {words} {PLACES[self.place][0]}"


def article(words: str) -> str:
    return "an" if words[0] in "aeio" else "a"


def all_scenes() -> list[Scene]:
    """Returns every combination in a fixed order: 12 x 10 x 10 x 3 = 3,600."""
    return [Scene(object=o, colour=c, place=p, size=s) for o, c, p, s in itertools.product(OBJECTS, COLOURS, PLACES, SIZES)]


def caption(scene: Scene, rng: random.Random) -> str:
    """Returns a random caption for ``scene``, which sometimes omits an attribute."""
    size = rng.choice(SIZES[scene.size])
    colour = rng.choice(COLOURS[scene.colour]) if rng.random() < 0.3 else scene.colour
    name = rng.choice(OBJECTS[scene.object]) if rng.random() < 0.5 else scene.object
    place = rng.choice(PLACES[scene.place])
    filler = rng.choice(FILLERS) if rng.random() < 0.1 else ""
    if rng.random() < 0.06:
        colour = ""
    if rng.random() < 0.06:
        place = ""
    if rng.random() < 0.5:
        size = ""
    words = " ".join(w for w in (filler, size, colour, name) if w)
    if rng.random() < 0.9:
        words = f"{article(words)} {words}"
    elif rng.random() < 0.3:
        words = f"the {words}"
    prefix = rng.choice(PREFIXES)
    text = " ".join(w for w in (prefix, words) if w)
    if place:
        text = f"{place}, {text}" if rng.random() < 0.08 else f"{text} {place}"
    if rng.random() < 0.08:
        text = f"{text}, {rng.choice(SUFFIXES)}"
    if rng.random() < 0.04:  # an unknown word, which the model learns to ignore
        noise = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
        at = rng.randrange(text.count(" ") + 1)
        parts = text.split(" ")
        text = " ".join([*parts[:at], noise, *parts[at:]])
    return text


def reworded(scene: Scene, rng: random.Random) -> str:
    """Returns a paraphrase of ``scene.prompt`` with a prefix and random synonyms that omits nothing."""
    size = "" if scene.size == "medium" else rng.choice(SIZES[scene.size])
    words = [size, rng.choice(COLOURS[scene.colour]), rng.choice(OBJECTS[scene.object])]
    text = " ".join(w for w in words if w)
    prefix = rng.choice([p for p in PREFIXES if p])
    return f"{prefix} {article(text)} {text} {rng.choice(PLACES[scene.place])}"


def vocabulary() -> list[str]:
    """Returns all words that captions can contain. Each becomes one token."""
    phrases = [p for table in (OBJECTS, COLOURS, PLACES, SIZES) for v in table.values() for p in v]
    phrases += [*PREFIXES, *FILLERS, *SUFFIXES, "a", "an", "the", "with", "and", "of", ","]
    return sorted({w for phrase in phrases for w in phrase.split()})
