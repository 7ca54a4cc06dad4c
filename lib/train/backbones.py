"""The available backbones and the sources of their weights. Imports neither torch nor keras."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidValue

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """``timm`` is timm's name of the architecture. ``mean`` and ``std`` are for RGB values 0 to 255; None uses timm's.

    ``source`` of the pretrained weights: "package" (installed, works offline), "hub", or "folder" (local).
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
    """The initial weights of a backbone.

    ``source`` describes their origin, "random" if there is none; ``sha256`` covers names and values, "" for random weights.
    ``parameters`` counts the whole network, head included.
    """

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
    """Returns the registry plus ``extra`` from the settings: timm names, or ``name=/folder`` of a saved timm model.

    Raises InvalidValue for a duplicate name or an invalid folder.
    """
    registry = dict(BACKBONES)
    for entry in extra:
        name, _, folder = entry.partition("=")
        if name in registry:
            raise InvalidValue("TRAIN_BACKBONES", entry, f"names that are not taken yet ({', '.join(registry)})")
        if folder and not (Path(folder) / "config.json").is_file():
            raise InvalidValue("TRAIN_BACKBONES", entry, "a folder with a config.json, as timm saves it")
        registry[name] = Backbone(
            name=name,
            timm=f"local-dir:{folder}" if folder else name,
            source="folder" if folder else "hub",
            note="weights from a folder on this machine" if folder else "weights from the Hub",
        )
    return registry


def choose(name: str, extra: Iterable[str] = (), framework: str = "pytorch") -> Backbone:
    """Returns the backbone ``name``. Raises InvalidValue with the available names."""
    supported = {k: b for k, b in listed(extra).items() if framework != "keras" or b.keras}
    if name not in supported:
        raise InvalidValue("backbone", name, ", ".join(supported))
    return supported[name]
