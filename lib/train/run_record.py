"""The record of a run: what was trained on what, where, and how it ended. ``run.json`` on the disk has these keys.

The record is read field by field. One that has another shape keeps its default, so old runs and damaged ones still load.
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

Timestamp = Annotated[float, Field(ge=0, lt=1e11)]  # seconds since 1970, of a year that calendars know


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReference:
    """The data set of a run. ``id`` is "" for a folder of the command line; ``fingerprint`` is 64 hex digits.

    ``count`` is the number of pictures, ``classes`` the number of classes.
    """

    id: str = ""
    name: str = ""
    fingerprint: str = ""
    count: int = 0
    classes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine of a run. ``packages``: versions by name, "" where not installed. ``commit``: of this code, with "+" where
    files differ from it. ``instructions``: the widest vector instructions that torch uses."""

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
    """Pictures of each part; ``sha256`` of the indices of all three."""

    train: int = 0
    validation: int = 0
    test: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file of the run: its size in bytes, and the sha256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that two runs do not share. ``what`` is its name, with dots between the levels, as ``recipe.seed``."""

    what: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How ``run``, which repeats the run ``of``, came out. ``verdict`` is "identical" where the sha256 of the weights are
    equal, else "differs". ``sha256`` is that of the new weights, None where there are none."""

    run: str = ""
    of: str = ""
    verdict: str
    sha256: str | None = None
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """``status`` as it is now. ``created``: seconds since 1970; ``seconds``: what the training took.

    ``recipe`` holds the arguments of ``Recipe``, which judges them. ``classes`` are in the order of the network's outputs.
    ``files`` by name. ``exports`` by target, as ``lib/train/edge/export_row.py`` reads them.
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
        """Of the JSON of ``Run.read``. Never fails: what does not fit keeps its default."""
        return parse_fields(cls, values)

    def parsed_recipe(self) -> Recipe:
        """Raises InvalidValue for one that this version does not know."""
        return Recipe.parse(self.recipe)

    def used_recipe(self) -> Recipe:
        """The recipe as it was carried out: with the number of threads that the run had. Raises InvalidValue."""
        threads = self.environment.threads if self.environment else 0
        return replace(self.parsed_recipe(), threads=threads) if threads else self.parsed_recipe()

    @property
    def has_random_weights(self) -> bool:
        return self.recipe.get("weights") == "random"
