"""The backbones that a visitor may choose, and where their weights come from. Knows neither torch nor keras."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidValue

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """``timm`` is the architecture's name there. ``mean`` and ``std`` are of RGB values 0 to 255; None: as timm says.

    ``source`` of the trained weights: "package" (installed, needs no network), "hub", or "folder" of this machine.
    """

    name: str
    timm: str
    source: str
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    keras: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneWeights:
    """The values that a backbone starts from. ``source`` says in words where they come from, "random" for none; ``sha256``
    over names and values, "" for random ones. ``parameters`` is their number in the whole network, head included."""

    source: str = ""
    sha256: str = ""
    parameters: int = 0


BACKBONES = {
    b.name: b
    for b in (
        Backbone(
            name="efficientnet_lite0",
            timm="tf_efficientnet_lite0",
            source="package",
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
            keras=True,
            note="3.4 M parameters; its ImageNet weights are installed",
        ),
        Backbone(
            name="mobilenetv3_small",
            timm="mobilenetv3_small_100.lamb_in1k",
            source="hub",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            keras=True,
            note="1.5 M parameters; weights from the Hub",
        ),
        Backbone(
            name="efficientnet_lite4",
            timm="tf_efficientnet_lite4.in1k",
            source="hub",
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
            note="11.7 M parameters; weights from the Hub",
        ),
    )
}


def listed(extra: Iterable[str] = ()) -> dict[str, Backbone]:
    """The registry and what the owner lists: names of timm, or ``name=/folder`` of a saved timm model."""
    found = dict(BACKBONES)
    for text in extra:
        name, _, folder = text.partition("=")
        if name in found:
            raise InvalidValue("TRAIN_BACKBONES", text, f"names that are not there yet ({', '.join(found)})")
        if folder and not (Path(folder) / "config.json").is_file():
            raise InvalidValue("TRAIN_BACKBONES", text, "a folder with a config.json, as timm saves it")
        found[name] = Backbone(
            name=name,
            timm=f"local-dir:{folder}" if folder else name,
            source="folder" if folder else "hub",
            note="weights from a folder of this machine" if folder else "weights from the Hub",
        )
    return found


def choose(name: str, extra: Iterable[str] = (), framework: str = "pytorch") -> Backbone:
    """Raises InvalidValue with the names that there are."""
    found = {k: b for k, b in listed(extra).items() if framework != "keras" or b.keras}
    if name not in found:
        raise InvalidValue("backbone", name, ", ".join(found))
    return found[name]
