"""Real texts that a Python installation has: programs, licences, data files, pages."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

KINDS = {"python": ("*.py",), "header": ("*.h", "*.hpp"), "json": ("*.json",), "markup": ("*.html", "*.svg", "*.xml")}
PROSE = ("*LICENSE*", "*COPYING*", "*METADATA")
LEAST, MOST = 600, 400_000  # bytes of a file


@cache
def _everything() -> list[Path]:
    """Files of a fitting size in all packages, one walk for all kinds."""
    home = Path(sysconfig.get_paths()["purelib"])
    packages = sorted(p for p in home.iterdir() if p.is_dir())
    found = (p for package in packages for p in sorted(package.rglob("*")))
    return [p for p in found if p.is_file() and LEAST <= p.stat().st_size <= MOST]


def files(patterns: tuple[str, ...], most: int) -> list[Path]:
    """``most`` files, spread over the packages, always the same on one machine."""
    home, of_package = Path(sysconfig.get_paths()["purelib"]), Counter[str]()
    out: list[Path] = []
    for path in _everything():
        package = path.relative_to(home).parts[0]
        if of_package[package] < 8 and any(path.match(pattern) for pattern in patterns):
            of_package[package] += 1
            out.append(path)
    rng = np.random.default_rng(0)
    return [out[k] for k in rng.permutation(len(out))[:most]]


@cache
def characters(path: Path) -> np.ndarray:
    """Codes 0 to 127 of a file, runs of blanks as one; what is not ASCII becomes a question mark."""
    text = path.read_bytes()[:40_000].decode("utf-8", "replace")
    codes = np.frombuffer(re.sub(r"[ \t]+", " ", text).encode("ascii", "replace"), np.uint8)
    return codes.astype(np.int64)


def sentences(most: int) -> list[str]:
    """Of licences and descriptions of packages, each once."""
    out: dict[str, None] = {}
    for path in files(PROSE, 300):
        text = re.sub(r"\s+", " ", path.read_text("utf-8", "replace"))
        for one in re.split(r"(?<=[.;:]) ", text)[:60]:
            if 40 <= len(one) <= 160 and re.fullmatch(r"[A-Za-z][A-Za-z ,'()\-]+[.;:]", one):
                out[one] = None
    found = list(out)
    return [found[k] for k in np.random.default_rng(0).permutation(len(found))[:most]]
