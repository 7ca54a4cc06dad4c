"""A pen that draws in the coordinates of an object: x from -1 to 1, y upwards from the ground at 0."""

from __future__ import annotations

from PIL import ImageDraw

Colour = tuple[int, int, int]

RGB: dict[str, Colour] = {
    "red": (222, 45, 42),
    "orange": (248, 138, 24),
    "yellow": (252, 216, 48),
    "green": (52, 166, 70),
    "blue": (40, 96, 224),
    "purple": (138, 62, 196),
    "pink": (252, 136, 190),
    "brown": (128, 80, 44),
    "black": (44, 44, 50),
    "white": (248, 248, 246),
}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Returns ``a`` with a ``share`` (0-1) of ``b`` mixed in."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Pen:
    """Draws outlined shapes on a Pillow canvas.

    The object's origin is at pixel (``x``, ``y``), with ``scale`` pixels per unit.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, *, x: float, y: float, scale: float, flip: bool, colour: Colour) -> None:
        self.draw, self.x, self.y, self.scale, self.flip = draw, x, y, scale, flip
        self.main = colour
        bright = sum(colour) / 765
        # Dark objects get a pale outline, since they would be invisible at night and in space.
        self.line = mix(colour, (20, 18, 28), 0.72) if bright > 0.25 else (122, 124, 138)
        self.dark = mix(colour, (25, 20, 40), 0.28)
        self.light = mix(colour, (255, 255, 255), 0.38)
        self.width = max(2, round(scale * 0.07))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Returns the pixel coordinates of a point."""
        return self.x + (-x if self.flip else x) * self.scale, self.y - y * self.scale

    def poly(self, *points: tuple[float, float], fill: Colour | None = None, line: bool = True) -> None:
        corners = [self.at(*p) for p in points]
        self.draw.polygon(corners, fill=fill or self.main)
        if line:
            self.draw.line([*corners, corners[0], corners[1]], fill=self.line, width=self.width, joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour | None = None, line: bool = True) -> None:
        a, b = self.at(x, y)
        rx, ry = rx * self.scale, ry * self.scale
        self.draw.ellipse(
            (a - rx, b - ry, a + rx, b + ry), fill=fill or self.main, outline=self.line if line else None, width=self.width
        )

    def path(self, *points: tuple[float, float], fill: Colour | None = None, width: float = 1.0) -> None:
        self.draw.line(
            [self.at(*p) for p in points], fill=fill or self.line, width=max(1, round(self.width * width)), joint="curve"
        )
