"""Schemas of the jobs' answers. A malicious file may control a child process, so every answer is validated.

Only types and file names are checked, not whether the values are true: the proof tests what a converted model computes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lib.convert.proof.tolerances import PRECISIONS
from lib.errors import JobFailed
from lib.model_inputs.signature import Signature


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a JSON value. Raises ValueError if it is too deep, too long or has a non-finite number."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if depth > 6 or len(children) >= 5000 or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("too deep, too long or not a number")
    for child in children:
        _plain(child, depth + 1)
    return value


def _signature(value: dict[str, Any]) -> dict[str, Any]:
    try:
        signature = Signature.from_dict(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("not a signature") from error
    for tensor in (*signature.inputs, *signature.outputs):
        _Value.model_validate(
            {"name": tensor.name, "dtype": tensor.dtype, "role": tensor.role, "high": tensor.high, "shape": tensor.shape}
        )
    _Sizes.model_validate({"sizes": signature.sizes})
    return value


class Answer(BaseModel):
    """Base of the answers. Unknown keys are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, lt=2**63)]
Milliseconds = Annotated[float, Field(ge=0)]
Sizes = dict[str, Count]
Record = Annotated[dict[str, Any], AfterValidator(_plain)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}\.npz$")]  # used as part of a path
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Png = Annotated[str, Field(max_length=100_002, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]  # base64
SignatureDict = Annotated[dict[str, Any], AfterValidator(_signature)]


class _Value(Answer):
    name: str
    dtype: str
    role: str
    high: Count | None
    shape: tuple[str | Count, ...] | list[str | Count]


class _Sizes(Answer):
    sizes: dict[str, tuple[Count, ...] | list[Count]]


class Case(Answer):
    """One set of inputs that the source ran on. Its arrays are in ``in-<file>`` and ``out-<file>``."""

    kind: str
    seed: Count
    sizes: Sizes
    file: FileName
    changed: str
    label: Count | None = None


class Samples(Answer):
    """A visitor's samples: ``count`` in all, split into ``calibration`` and ``judged``; ``shared`` are in both."""

    name: str
    kind: str
    count: Count
    labels: bool
    classes: list[str]
    preprocessing: Record | None = None
    calibration: Count
    judged: Count
    shared: Count
    messages: list[str]


class Picture(Answer):
    png: Png
    label: str


class Admit(Answer):
    """Answer of ``admit``. ``weights``: "random", "given" or ""."""

    format: str
    messages: list[str]
    bytes: Count
    weights: str


class Describe(Answer):
    signature: SignatureDict
    preprocessing: Record | None = None


class PreviewSamples(Answer):
    name: str
    kind: str
    count: Count
    classes: Sizes
    labels: Count
    preprocessing: Record | None = None
    arrays: list[Record]
    pictures: list[Picture]
    messages: list[str]


class RunEdge(Answer):
    """Answer of ``run_edge``: the edge's answer (see ``edges/__init__.py``), and ``bytes`` and ``files`` of its result."""

    messages: list[str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    fixed: Sizes
    limits: Sizes
    blind_spots: list[str]
    lost: list[str]
    unchanged: str
    layers: list[Record]
    chosen: Record
    bytes: Count
    files: dict[str, Sha256]
    precision: Literal[PRECISIONS] | None = None  # type: ignore[valid-type]
    tool: str | None = None


class RunSource(Answer):
    """Answer of ``run_source``. ``steady``: the source gave the same answer twice."""

    signature: SignatureDict
    sizes: Sizes
    sizes_note: str
    constants: list[str]
    samples: Samples | None = None
    cases: list[Case]
    refused: list[str]
    blind_spots: list[str]
    steady: bool
    median_ms: Milliseconds | None = None


class RunFurther(Answer):
    cases: list[Case]


class RunTarget(Answer):
    """Answer of ``run_target``. ``refused``: reason by case file. ``reference``: why the reference did not run, or ""."""

    signature: SignatureDict
    refused: dict[str, str]
    reference: str | None = None
    median_ms: dict[str, Milliseconds] | None = None
    steady_ms: bool | None = None
    notes: list[str]


T = TypeVar("T")


def checked(kind: type[T], answer: dict[str, Any]) -> T:
    """Validate ``answer`` as the model or dataclass ``kind``. Unknown keys are dropped. Raises JobFailed."""
    try:
        return _adapter(kind).validate_python(answer)
    except ValidationError as error:
        fields = ", ".join(
            dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_input=False) if detail["loc"])
        )
        raise JobFailed(
            f"The conversion process returned an invalid result ({fields}). Nothing else was affected."
        ) from None


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)
