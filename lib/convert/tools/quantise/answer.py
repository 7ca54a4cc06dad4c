"""Turns the result of a search into an int8 edge's answer: layers, choices and messages. Independent of the format."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.convert.tools.quantise.search import Found, Layer

MAX_LAYERS = 500  # layers listed in an answer
NAMED = 5  # layers named in a message


def layers(some: list[Layer], found: Found) -> list[dict[str, Any]]:
    """Returns one row per layer, the noisiest first if noise was measured.

    ``sqnr_db``: of the outputs with this layer alone quantised; ``bytes``: of its weights in the file.
    """
    out = []
    for layer in sorted(some, key=lambda one: -found.noise.get(one.name, 0.0))[:MAX_LAYERS]:
        precision = "float32" if layer.name in found.floats else "int8"
        row: dict[str, Any] = {"layer": layer.name[:200], "operator": layer.kind, "kept": precision}
        row["bytes"] = layer.bytes if precision == "float32" else layer.bytes // 4
        if layer.name in found.noise:
            row["sqnr_db"] = round(-10 * float(np.log10(max(found.noise[layer.name], 1e-12))), 1)
        out.append(row)
    return out


def ranges(message: str, given: int, seen: int) -> list[str]:
    """Returns messages on the calibration: ``seen`` of ``given`` inputs were used before the time was up."""
    return [message] + ([f"Time ran out after {seen} of them."] if 0 < seen < given else [])


def chosen(found: Found) -> dict[str, Any]:
    """Returns the answer's entry ``chosen``: the method, and the figures that led to it."""
    return {"method": found.method, "measured": found.measured, "result": found.result}


def messages(some: list[Layer], found: Found, floor: float) -> list[str]:
    """Returns sentences on the method, the float layers, and the quality if it is below ``floor``."""
    out = list(found.messages)
    if len(found.measured) > 1:
        figures = ", ".join(f"{name} {row['sqnr_db']:.1f} dB" for name, row in found.measured.items())
        out.append(f"Ranges by {found.method} give the least noise on the calibration inputs ({figures}).")
    if found.floats:
        names = sorted(found.floats, key=lambda n: -found.noise.get(n, 0.0))
        shown = ", ".join(n[:80] for n in names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        size = sum(layer.bytes for layer in some if layer.name in found.floats) / 1e6
        out.append(
            f"{len(names)} of {len(some)} layers stay float32 ({size:.1f} MB), because int8 adds most noise there: {shown}."
        )
    if not found.good and found.value is not None:
        share = "dB" not in found.metric
        value = f"{found.value:.1%}" if share else f"{found.value:.1f} dB"
        target = f"; {floor:.0%} is required" if share else ""
        out.append(f"{found.metric.removesuffix(', dB')} is {value} on the calibration inputs{target}.")
    return out
