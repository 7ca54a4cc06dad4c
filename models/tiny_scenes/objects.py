"""The twelve objects, each drawn with a few strokes of a :class:`Pen`, mostly in the requested color."""

from __future__ import annotations

import math
from collections.abc import Callable

from models.tiny_scenes.pen import Colour, Pen

GLASS: Colour = (196, 232, 250)
INK: Colour = (38, 36, 44)
METAL: Colour = (190, 196, 204)
CREAM: Colour = (250, 238, 208)
STEM: Colour = (58, 132, 60)


def car(p: Pen) -> None:
    p.poly((-1, 0.22), (-1, 0.5), (-0.62, 0.62), (-0.36, 0.98), (0.34, 0.98), (0.62, 0.62), (1, 0.52), (1, 0.22))
    p.poly((-0.46, 0.64), (-0.27, 0.88), (-0.04, 0.88), (-0.04, 0.64), fill=GLASS)
    p.poly((0.06, 0.64), (0.06, 0.88), (0.27, 0.88), (0.46, 0.64), fill=GLASS)
    p.poly((-0.98, 0.32), (0.98, 0.32), (0.98, 0.24), (-0.98, 0.24), fill=p.dark, line=False)
    p.oval(0.9, 0.44, 0.08, 0.07, fill=(255, 240, 150))
    for x in (-0.56, 0.56):
        p.oval(x, 0.2, 0.22, 0.22, fill=INK)
        p.oval(x, 0.2, 0.1, 0.1, fill=METAL, line=False)


def house(p: Pen) -> None:
    p.poly((-0.72, 0), (-0.72, 0.82), (0.72, 0.82), (0.72, 0))
    p.poly((0.36, 1.0), (0.36, 1.42), (0.56, 1.42), (0.56, 0.9), fill=p.dark)
    p.poly((-0.95, 0.78), (0, 1.5), (0.95, 0.78), fill=p.dark)
    p.poly((-0.16, 0), (-0.16, 0.46), (0.16, 0.46), (0.16, 0), fill=CREAM)
    for x in (-0.46, 0.46):
        p.poly((x - 0.15, 0.3), (x - 0.15, 0.6), (x + 0.15, 0.6), (x + 0.15, 0.3), fill=GLASS)


def boat(p: Pen) -> None:
    p.path((0, 0.4), (0, 1.66), width=1.4)
    p.poly((0.08, 0.52), (0.08, 1.6), (0.8, 0.52), fill=p.light)
    p.poly((-0.08, 0.52), (-0.08, 1.36), (-0.6, 0.52), fill=CREAM)
    p.poly((-1, 0.44), (-0.66, 0), (0.64, 0), (1, 0.44))
    p.poly((-0.92, 0.34), (0.92, 0.34), (0.96, 0.4), (-0.96, 0.4), fill=CREAM, line=False)


def rocket(p: Pen) -> None:
    p.poly((-0.2, 0.3), (-0.12, 0.02), (0, 0.16), (0.12, 0.02), (0.2, 0.3), fill=(255, 190, 50), line=False)
    p.poly((-0.34, 0.3), (-0.72, 0.18), (-0.66, 0.62), (-0.36, 0.86), fill=p.dark)
    p.poly((0.34, 0.3), (0.72, 0.18), (0.66, 0.62), (0.36, 0.86), fill=p.dark)
    p.poly((-0.3, 0.3), (-0.4, 0.8), (-0.34, 1.3), (0, 1.78), (0.34, 1.3), (0.4, 0.8), (0.3, 0.3))
    p.poly((-0.33, 1.32), (0, 1.78), (0.33, 1.32), fill=p.light)
    p.oval(0, 0.98, 0.2, 0.2, fill=GLASS)


def balloon(p: Pen) -> None:
    p.path((-0.42, 0.72), (-0.17, 0.3), width=0.8)
    p.path((0.42, 0.72), (0.17, 0.3), width=0.8)
    p.oval(0, 1.18, 0.74, 0.72)
    p.oval(0, 1.18, 0.3, 0.7, fill=p.light)
    p.poly((-0.2, 0), (-0.2, 0.3), (0.2, 0.3), (0.2, 0), fill=(176, 124, 70))


def fish(p: Pen) -> None:
    p.poly((-0.5, 0.56), (-1, 0.96), (-0.9, 0.54), (-1, 0.12), fill=p.dark)
    p.poly((-0.1, 0.88), (0.12, 1.2), (0.42, 0.82), fill=p.dark)
    p.oval(0.14, 0.55, 0.74, 0.44)
    p.poly((0.0, 0.5), (-0.3, 0.3), (0.02, 0.24), fill=p.light, line=False)
    p.oval(0.52, 0.66, 0.14, 0.14, fill=(255, 255, 255))
    p.oval(0.56, 0.66, 0.06, 0.06, fill=INK, line=False)
    p.path((0.62, 0.36), (0.8, 0.42), width=0.8)


def cat(p: Pen) -> None:
    p.path((0.46, 0.2), (0.84, 0.34), (0.8, 0.76), fill=p.line, width=3.4)
    p.path((0.46, 0.2), (0.84, 0.34), (0.8, 0.74), fill=p.main, width=1.8)
    p.oval(0, 0.42, 0.52, 0.44)
    p.oval(0, 0.34, 0.26, 0.28, fill=p.light, line=False)
    p.poly((-0.54, 1.1), (-0.5, 1.66), (-0.12, 1.4))
    p.poly((0.54, 1.1), (0.5, 1.66), (0.12, 1.4))
    p.oval(0, 1.06, 0.54, 0.44)
    for x in (-0.22, 0.22):
        p.oval(x, 1.12, 0.12, 0.14, fill=(240, 250, 190))
        p.oval(x, 1.12, 0.05, 0.1, fill=INK, line=False)
    p.poly((-0.07, 0.96), (0.07, 0.96), (0, 0.88), fill=(240, 130, 140), line=False)


def flower(p: Pen) -> None:
    p.path((0, 0), (0, 0.9), fill=STEM, width=2.4)
    p.poly((0, 0.24), (0.42, 0.5), (0.5, 0.32), fill=STEM, line=False)
    p.poly((0, 0.12), (-0.42, 0.38), (-0.5, 0.2), fill=STEM, line=False)
    for k in range(6):
        a = math.pi * k / 3 + 0.26
        p.oval(0.42 * math.cos(a), 1.12 + 0.42 * math.sin(a), 0.27, 0.27)
    p.oval(0, 1.12, 0.25, 0.25, fill=(255, 224, 96))


def mushroom(p: Pen) -> None:
    p.poly((-0.24, 0), (-0.2, 0.7), (0.2, 0.7), (0.24, 0), fill=CREAM)
    cap = [(0.9 * math.cos(a), 0.6 + 0.82 * math.sin(a)) for a in (math.pi * k / 14 for k in range(15))]
    p.poly(*cap)
    for x, y, r in ((-0.44, 0.86, 0.13), (0.06, 1.12, 0.16), (0.48, 0.84, 0.12)):
        p.oval(x, y, r, r, fill=(255, 252, 240), line=False)


def umbrella(p: Pen) -> None:
    p.path((0, 0.16), (0, 1.1), width=1.6)
    p.path((0, 0.2), (0.06, 0.06), (0.2, 0.06), (0.26, 0.2), width=1.6)
    dome = [(0.96 * math.cos(a), 0.82 + 0.74 * math.sin(a)) for a in (math.pi * k / 14 for k in range(15))]
    scallops = [(-0.64, 0.92), (-0.32, 0.8), (0, 0.92), (0.32, 0.8), (0.64, 0.92)]
    p.poly(*dome, *scallops)
    p.poly((-0.32, 0.8), (0, 1.54), (0.32, 0.8), (0, 0.92), fill=p.light)


def butterfly(p: Pen) -> None:
    for side in (-1, 1):
        p.oval(side * 0.5, 1.02, 0.46, 0.42)
        p.oval(side * 0.4, 0.44, 0.34, 0.34, fill=p.dark)
        p.oval(side * 0.54, 1.04, 0.2, 0.18, fill=p.light, line=False)
    p.oval(0, 0.74, 0.1, 0.52, fill=INK, line=False)
    for side in (-1, 1):
        p.path((0, 1.2), (side * 0.24, 1.56), fill=INK, width=0.8)


def robot(p: Pen) -> None:
    for x in (-0.26, 0.26):
        p.poly((x - 0.13, 0), (x - 0.13, 0.34), (x + 0.13, 0.34), (x + 0.13, 0), fill=METAL)
        p.poly((x * 3.1 - 0.1, 0.38), (x * 3.1 - 0.1, 0.84), (x * 3.1 + 0.1, 0.84), (x * 3.1 + 0.1, 0.38), fill=METAL)
    p.poly((-0.56, 0.28), (-0.56, 0.96), (0.56, 0.96), (0.56, 0.28))
    p.poly((-0.26, 0.46), (-0.26, 0.76), (0.26, 0.76), (0.26, 0.46), fill=p.light)
    p.path((0, 1.44), (0, 1.72))
    p.oval(0, 1.72, 0.09, 0.09, fill=(255, 90, 80))
    p.poly((-0.46, 1.0), (-0.46, 1.5), (0.46, 1.5), (0.46, 1.0))
    for x in (-0.2, 0.2):
        p.oval(x, 1.3, 0.12, 0.12, fill=(255, 250, 190))
        p.oval(x, 1.3, 0.05, 0.05, fill=INK, line=False)
    p.path((-0.2, 1.1), (0.2, 1.1), width=0.9)


DRAW: dict[str, Callable[[Pen], None]] = {
    f.__name__: f for f in (car, house, boat, rocket, balloon, fish, cat, flower, mushroom, umbrella, butterfly, robot)
}
