"""The record of a run: what was trained on which data, where, and with what outcome. ``run.json`` has the same keys.

The record is parsed field by field. An invalid field gets its default, so old and damaged records still load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from lib.train.backbones import BackboneWeights
from lib.train.evaluation import RunResult
from lib.train.events import Epoch
from lib.train.recipe import Recipe
from lib.train.schema import parse_fields

WAITING, RUNNING, DONE, FAILED, STOPPED, INTERRUPTED = "waiting", "running", "done", "failed", "stopped", "interrupted"

Timestamp = Annotated[float, Field(ge=0, lt=1e11)]  # seconds since 1970, in the range that datetime supports


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReference:
    """The dataset of a run. ``id`` is "" for a folder given on the command line; ``fingerprint`` is 64 hex digits.

    ``count`` is the number of images, ``classes`` the number of classes.
    """

    id: str = ""
    name: str = ""
    fingerprint: str = ""
    count: int = 0
    classes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine of a run.

    ``packages`` maps names to versions, "" if not installed. ``commit`` is that of this code, with "+" if files differ.
    ``instructions`` is the widest vector instruction set that torch uses.
    """

    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    system: str = ""
    processor: str = ""
    instructions: str = ""
    threads: int = 0
    device: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSizes:
    """Images per split; ``sha256`` is over the indices of all three."""

    train: int = 0
    validation: int = 0
    test: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file of the run: its size in bytes and the SHA-256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that differs between two runs. ``what`` is its dotted path, such as ``recipe.seed``."""

    what: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The outcome of ``run``, which reproduces the run ``of``.

    ``verdict`` is "identical" if the SHA-256 digests of the weights are equal, else "differs". ``sha256`` is that of the new
    weights, None if there are none.
    """

    run: str = ""
    of: str = ""
    verdict: str
    sha256: str | None = None
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """``status`` is current. ``created`` is in seconds since 1970; ``seconds`` is the training time.

    ``recipe`` holds the arguments of ``Recipe``, which validates them. ``classes`` are in output order. ``files`` is by
    name, ``exports`` by target, parsed in ``lib/train/edge/export_row.py``.
    """

    id: str = ""
    name: str = ""
    status: str = INTERRUPTED
    created: Timestamp | None = None
    seconds: float = 0.0
    error: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    data: DataReference = DataReference()
    weights: BackboneWeights | None = None
    environment: Environment | None = None
    split: SplitSizes | None = None
    classes: tuple[str, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    result: RunResult | None = None
    files: dict[str, FileDigest] = field(default_factory=dict)
    again: Reproduction | None = None
    exports: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> RunRecord:
        """Parse the JSON of ``Run.read``. Never fails: an invalid field gets its default."""
        return parse_fields(cls, values)

    def parsed_recipe(self) -> Recipe:
        """Returns the recipe. Raises InvalidValue if this version does not support it."""
        return Recipe.parse(self.recipe)

    def used_recipe(self) -> Recipe:
        """Returns the recipe with the number of threads that the run actually used. Raises InvalidValue."""
        threads = self.environment.threads if self.environment else 0
        return replace(self.parsed_recipe(), threads=threads) if threads else self.parsed_recipe()

    @property
    def has_random_weights(self) -> bool:
        return self.recipe.get("weights") == "random"
