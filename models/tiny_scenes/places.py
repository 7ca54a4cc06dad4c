"""The ten places. Each function paints a whole square canvas.

``d`` is a Pillow canvas of ``S`` x ``S`` pixels; the ground line of objects is at 0.8 S.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from models.tiny_scenes.pen import Colour, mix

S = 256
GROUND = 0.8


def gradient(d: ImageDraw.ImageDraw, top: Colour, bottom: Colour, y0: float, y1: float) -> None:
    a, b = int(y0 * S), int(y1 * S)
    for y in range(a, b, 2):
        d.rectangle((0, y, S, y + 1), fill=mix(top, bottom, (y - a) / max(1, b - a)))


def hill(d: ImageDraw.ImageDraw, y: float, swing: float, waves: float, phase: float, fill: Colour) -> None:
    pts = [(x, (y + swing * math.sin(x / S * math.tau * waves + phase)) * S) for x in range(0, S + 8, 8)]
    d.polygon([*pts, (S, S), (0, S)], fill=fill)


def blob(d: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
    d.ellipse(((x - rx) * S, (y - ry) * S, (x + rx) * S, (y + ry) * S), fill=fill)


def cloud(d: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: Colour = (255, 255, 255)) -> None:
    for dx, dy, k in ((-1.1, 0.2, 0.7), (0, 0, 1.0), (1.1, 0.2, 0.75)):
        blob(d, x + dx * r, y + dy * r, r * k * 1.1, r * k * 0.8, fill)


def pine(d: ImageDraw.ImageDraw, x: float, base: float, h: float, fill: Colour, cap: Colour | None = None) -> None:
    d.rectangle(((x - h * 0.05) * S, (base - h * 0.2) * S, (x + h * 0.05) * S, base * S), fill=(92, 64, 44))
    for k, w in ((0.15, 0.3), (0.42, 0.23), (0.68, 0.15)):
        y = base - h * k
        d.polygon([((x - h * w) * S, y * S), ((x + h * w) * S, y * S), (x * S, (y - h * 0.42) * S)], fill=fill)
        if cap:
            d.polygon(
                [
                    ((x - h * w * 0.5) * S, (y - h * 0.21) * S),
                    ((x + h * w * 0.5) * S, (y - h * 0.21) * S),
                    (x * S, (y - h * 0.42) * S),
                ],
                fill=cap,
            )


def track(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (120, 190, 245), (205, 232, 250), 0, 0.5)
    cloud(d, r.uniform(0.15, 0.85), r.uniform(0.1, 0.2), 0.08)
    d.rectangle((0, 0.46 * S, S, 0.66 * S), fill=(112, 186, 84))
    d.rectangle((0, 0.64 * S, S, S), fill=(104, 106, 114))
    shift = r.uniform(0, 0.2)
    for k in range(-1, 11):
        x = (k * 0.1 + shift / 2) * S
        d.rectangle((x, 0.63 * S, x + 0.1 * S, 0.67 * S), fill=(226, 52, 50) if k % 2 else (250, 250, 250))
    for k in range(-1, 5):
        x = (k * 0.26 + shift) * S
        d.rectangle((x, 0.9 * S, x + 0.14 * S, 0.93 * S), fill=(250, 250, 250))


def beach(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (110, 200, 250), (210, 240, 252), 0, 0.46)
    blob(d, r.uniform(0.15, 0.85), r.uniform(0.1, 0.18), 0.08, 0.08, (255, 226, 90))
    gradient(d, (30, 140, 200), (70, 200, 215), 0.44, 0.7)
    hill(d, 0.62, 0.015, 2, r.uniform(0, 6), (235, 250, 252))
    hill(d, 0.64, 0.015, 2, r.uniform(0, 6), (246, 218, 150))
    x = r.choice((0.1, 0.9)) + r.uniform(-0.04, 0.04)
    d.line((x * S, 0.7 * S, (x + 0.02) * S, 0.34 * S), fill=(140, 98, 58), width=9)
    for a in (-2.7, -2.1, -0.9, -0.4, 0.1, 3.0):
        d.line(
            ((x + 0.02) * S, 0.34 * S, (x + 0.02 + 0.13 * math.cos(a)) * S, (0.34 + 0.1 * math.sin(a)) * S),
            fill=(40, 150, 70),
            width=10,
        )


def forest(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (150, 205, 170), (70, 110, 72), 0, 0.8)
    for row, (shade, h) in enumerate((((84, 148, 104), 0.5), ((46, 112, 66), 0.6))):
        start = r.uniform(-0.05, 0.05)
        for k in range(7):
            pine(d, start + k * 0.17 + row * 0.08, 0.62 + row * 0.06, h * r.uniform(0.85, 1.15), shade)
    hill(d, 0.66, 0.012, 2, r.uniform(0, 6), (78, 104, 52))
    hill(d, 0.74, 0.012, 1.5, r.uniform(0, 6), (96, 82, 50))


def snow(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (168, 196, 226), (224, 234, 244), 0, 0.7)
    hill(d, 0.54, 0.05, 1, r.uniform(0, 6), (214, 226, 240))
    for x in (r.uniform(0.05, 0.2), r.uniform(0.3, 0.45), r.uniform(0.6, 0.75), r.uniform(0.82, 0.95)):
        pine(d, x, 0.66, r.uniform(0.24, 0.36), (64, 112, 112), (246, 250, 255))
    hill(d, 0.65, 0.02, 1.5, r.uniform(0, 6), (240, 245, 252))
    for _ in range(26):
        blob(d, r.random(), r.random() * 0.9, 0.011, 0.011, (255, 255, 255))


def desert(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (250, 170, 96), (255, 226, 160), 0, 0.7)
    blob(d, r.uniform(0.15, 0.85), r.uniform(0.16, 0.26), 0.1, 0.1, (255, 246, 196))
    hill(d, 0.52, 0.06, 1, r.uniform(0, 6), (226, 150, 84))
    hill(d, 0.64, 0.04, 1.2, r.uniform(0, 6), (214, 128, 62))
    x = r.choice((0.12, 0.88)) + r.uniform(-0.05, 0.05)
    green = (62, 130, 76)
    d.line((x * S, 0.72 * S, x * S, 0.4 * S), fill=green, width=14)
    d.line(((x - 0.07) * S, 0.46 * S, (x - 0.07) * S, 0.57 * S, x * S, 0.57 * S), fill=green, width=10, joint="curve")
    d.line(((x + 0.07) * S, 0.5 * S, (x + 0.07) * S, 0.62 * S, x * S, 0.62 * S), fill=green, width=10, joint="curve")


def city(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (22, 24, 62), (72, 60, 122), 0, 0.7)
    blob(d, r.uniform(0.15, 0.85), r.uniform(0.08, 0.16), 0.06, 0.06, (250, 244, 200))
    x = r.uniform(-0.1, 0.0)
    while x < 1:
        w, h = r.uniform(0.12, 0.18), r.uniform(0.28, 0.5)
        d.rectangle((x * S, (0.72 - h) * S, (x + w - 0.015) * S, 0.72 * S), fill=(40, 40, 74))
        wy = 0.72 - h + 0.04
        while wy < 0.68:
            wx = x + 0.025
            while wx < x + w - 0.045:
                if r.random() < 0.6:
                    d.rectangle((wx * S, wy * S, (wx + 0.022) * S, (wy + 0.028) * S), fill=(255, 220, 110))
                wx += 0.042
            wy += 0.06
        x += w
    d.rectangle((0, 0.72 * S, S, S), fill=(66, 66, 84))
    d.rectangle((0, 0.71 * S, S, 0.735 * S), fill=(120, 118, 140))


def mountains(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (96, 170, 236), (206, 230, 248), 0, 0.7)
    for base, shade in (
        (r.uniform(0.1, 0.3), (132, 142, 164)),
        (r.uniform(0.7, 0.9), (118, 128, 152)),
        (r.uniform(0.4, 0.6), (98, 108, 134)),
    ):
        top, w = r.uniform(0.1, 0.22), 0.36
        d.polygon([((base - w) * S, 0.66 * S), (base * S, top * S), ((base + w) * S, 0.66 * S)], fill=shade)
        k, slope = 0.13, w / (0.66 - top)
        d.polygon(
            [
                (base * S, top * S),
                ((base - k * slope) * S, (top + k) * S),
                ((base - 0.02) * S, (top + k * 0.7) * S),
                ((base + 0.02) * S, (top + k) * S),
                ((base + k * slope * 0.9) * S, (top + k * 0.9) * S),
            ],
            fill=(250, 252, 255),
        )
    hill(d, 0.64, 0.02, 1, r.uniform(0, 6), (96, 150, 84))
    hill(d, 0.72, 0.02, 1.4, r.uniform(0, 6), (118, 172, 92))


def space(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (10, 8, 30), (44, 20, 74), 0, 1)
    for _ in range(46):
        k = r.uniform(0.003, 0.009)
        blob(d, r.random(), r.random(), k, k, (255, 255, 230))
    x, y = r.choice((0.16, 0.84)) + r.uniform(-0.05, 0.05), r.uniform(0.14, 0.26)
    blob(d, x, y, 0.11, 0.11, (228, 150, 92))
    blob(d, x - 0.03, y - 0.03, 0.045, 0.03, (244, 184, 126))
    d.arc(((x - 0.18) * S, (y - 0.05) * S, (x + 0.18) * S, (y + 0.05) * S), -20, 200, fill=(236, 216, 170), width=5)
    hill(d, 0.84, 0.015, 1.4, r.uniform(0, 6), (120, 112, 140))
    for _ in range(3):
        blob(d, r.random(), r.uniform(0.9, 0.97), 0.05, 0.02, (94, 86, 116))


def sea(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (44, 176, 206), (10, 74, 138), 0, 1)
    for _ in range(3):
        x = r.uniform(0, 0.9)
        d.polygon(
            [(x * S, 0), ((x + 0.08) * S, 0), ((x + 0.02) * S, 0.5 * S), ((x - 0.1) * S, 0.5 * S)], fill=(66, 186, 212)
        )
    hill(d, 0.82, 0.02, 1.5, r.uniform(0, 6), (206, 186, 130))
    for x in (r.uniform(0.03, 0.14), r.uniform(0.16, 0.26), r.uniform(0.76, 0.86), r.uniform(0.88, 0.97)):
        top = r.uniform(0.46, 0.62)
        pts = [((x + 0.025 * math.sin(k * 1.5)) * S, (0.88 - (0.88 - top) * k / 6) * S) for k in range(7)]
        d.line(pts, fill=(36, 140, 92), width=9, joint="curve")
    for _ in range(8):
        x, y, k = r.random(), r.uniform(0.05, 0.7), r.uniform(0.012, 0.028)
        d.ellipse(((x - k) * S, (y - k) * S, (x + k) * S, (y + k) * S), outline=(206, 242, 252), width=3)


def meadow(d: ImageDraw.ImageDraw, r: random.Random) -> None:
    gradient(d, (130, 206, 252), (226, 244, 255), 0, 0.7)
    blob(d, r.uniform(0.15, 0.85), r.uniform(0.1, 0.18), 0.085, 0.085, (255, 236, 120))
    cloud(d, r.uniform(0.15, 0.85), r.uniform(0.16, 0.28), 0.08)
    hill(d, 0.54, 0.05, 1, r.uniform(0, 6), (150, 212, 96))
    hill(d, 0.64, 0.03, 1.3, r.uniform(0, 6), (124, 196, 70))
    for _ in range(26):
        x, y = r.random(), r.uniform(0.68, 0.98)
        blob(d, x, y, 0.017, 0.017, r.choice(((255, 255, 255), (255, 120, 150), (255, 224, 80))))


PAINT: dict[str, Callable[[ImageDraw.ImageDraw, random.Random], None]] = {
    f.__name__: f for f in (track, beach, forest, snow, desert, city, mountains, space, sea, meadow)
}


def paint(place: str, rng: random.Random) -> Image.Image:
    """Returns the empty place as an RGB picture of 256 x 256 pixels."""
    canvas = Image.new("RGB", (S, S))
    PAINT[place](ImageDraw.Draw(canvas), rng)
    return canvas
