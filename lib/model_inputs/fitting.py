"""Arrays that a visitor sends, cut into samples and fitted to the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice

import numpy as np

from lib.errors import InvalidFile
from lib.model_inputs.signature import NARROW, Signature, Value, dtype

MAX_SAMPLES = 4096  # samples
LABELS = "labels"
Row = dict[str, np.ndarray]


def arrays_of(
    given: Mapping[str, np.ndarray] | np.ndarray, signature: Signature, fixed: Mapping[str, int], names: Sequence[str] = ()
) -> tuple[list[Row], list[int] | None, list[str], list[str]]:
    """(rows, labels, classes, messages). The first axis of every array counts samples; one that has the model's own
    shape while others count more is the same in every sample. ``names``: the model's classes in order, where its file
    states them. Raises InvalidFile."""
    inputs, messages = {v.name: v for v in signature.inputs}, []
    if isinstance(given, np.ndarray) or (list(given) == ["arr_0"] and "arr_0" not in inputs):
        only = given if isinstance(given, np.ndarray) else given["arr_0"]
        if len(inputs) > 1:
            raise InvalidFile(
                f"The file holds one unnamed array, but the model takes {inputs_text(signature)}. "
                "Send an .npz with one array per input."
            )
        given = {next(iter(inputs)): only}
    labels = given.get(LABELS) if LABELS not in inputs else None
    named = {n: a for n, a in given.items() if n in inputs or n != LABELS}
    _check_names(list(named), signature)
    cut = {name: _cut(value, named[name], signature) for name, value in inputs.items()}
    count = _count({n: len(parts) for n, parts in cut.items()}, {n: named[n].shape for n in cut}, cut, inputs, messages)
    rows = [{n: parts[k if len(parts) > 1 else 0] for n, parts in cut.items()} for k in range(count)]
    for number, row in enumerate(rows):
        _check_symbols(row, inputs, fixed, number)
    for name, value in named.items():
        if value.dtype.kind == "f" and (odd := int((~np.isfinite(value)).sum())):
            messages.append(f"{name[:80]!r} holds {odd:,} values that are not finite; they are used unchanged.")
    if labels is None:
        return rows, None, [], messages
    return rows, *_labels(labels, count, names), messages


def inputs_text(signature: Signature) -> str:
    """``input_ids int64 [batch, sequence]; …`` for messages."""
    texts = [f"{v.name[:100]} {v.dtype} {shape_of(v)}" for v in islice(signature.inputs, 12)]
    return "; ".join(texts) + "; …" * (len(signature.inputs) > 12)


def shape_of(value: Value) -> str:
    return str(list(value.shape)).replace("'", "")


def _check_names(given: list[str], signature: Signature) -> None:
    wanted = [v.name for v in signature.inputs]
    missing = [n for n in wanted if n not in given]
    extra = [n for n in given if n not in wanted]
    if not missing and not extra:
        return
    parts = [f"lacks {_few(missing)}"] if missing else []
    parts += [f"has {_few(extra)}, which the model does not take"] if extra else []
    near = [(n, m[0]) for n in extra[:5] if (m := get_close_matches(n, missing or wanted, 1, 0.5))]
    if not near and len(extra) == len(missing) == 1:
        near = [(extra[0], missing[0])]
    hint = "".join(f" Did you mean {right!r} instead of {wrong[:80]!r}?" for wrong, right in near)
    raise InvalidFile(f"The file of samples {' and '.join(parts)}. The model takes: {inputs_text(signature)}.{hint}")


def _few(names: list[str]) -> str:
    return ", ".join(repr(n[:80]) for n in names[:5]) + ", …" * (len(names) > 5)


def _cut(value: Value, array: np.ndarray, signature: Signature) -> list[np.ndarray]:
    """The samples of one input: along the first axis, as many rows at once as the model's first dimension says."""
    rank, first = len(value.shape), value.shape[0] if value.shape else None
    wrong = InvalidFile(
        f"{value.name[:80]!r} is {array.dtype} {list(array.shape)}; the model takes {value.name[:80]} {value.dtype} "
        f"{shape_of(value)}, with the samples along the first axis."
    )
    array = _typed(value, array, wrong)
    step = first if isinstance(first, int) else 1
    if array.ndim == rank + 1:
        parts = list(array)
    elif array.ndim == rank and rank and step and len(array) % step == 0:
        parts = [array[k : k + step] for k in range(0, len(array), step)]
    elif array.ndim == rank == 0:
        parts = [array]
    else:
        raise wrong
    if not parts:
        raise InvalidFile(f"{value.name[:80]!r} is {list(array.shape)}: it holds no samples.")
    if any(isinstance(d, int) and d != n for d, n in zip(value.shape, parts[0].shape, strict=True)):
        raise wrong
    return [np.asarray(part) for part in parts]


def _typed(value: Value, array: np.ndarray, wrong: InvalidFile) -> np.ndarray:
    """In the model's dtype where nothing is lost but digits; whole numbers must stay whole and fit."""
    to = dtype(value.dtype)
    if array.dtype == to:
        return array
    if to.hasobject:
        if array.dtype.kind != "U":
            raise wrong
        return array.astype(object)
    if array.dtype.kind == "V" and value.dtype in NARROW and array.dtype.itemsize == to.itemsize:
        return array.view(to)  # numpy's file format forgets the names of bfloat16 and its kin
    if array.dtype.kind in "biu" and to.kind in "biu":
        with np.errstate(all="ignore"):
            found = array.astype(to)
        if not np.array_equal(found, array):
            raise wrong
        return found
    narrow = value.dtype in NARROW and array.dtype.kind in "fiu"
    if not narrow and not (np.can_cast(array.dtype, to, "same_kind") and to.kind in "fc"):
        raise wrong
    with np.errstate(over="ignore"):
        return array.astype(to)


def _count(
    counts: dict[str, int],
    shapes: dict[str, tuple[int, ...]],
    cut: dict[str, list],
    inputs: dict[str, Value],
    messages: list[str],
) -> int:
    most = max(counts.values())
    if any(c not in (1, most) for c in counts.values()):
        said = ", ".join(f"{name[:80]} {n}" for name, n in islice(counts.items(), 12))
        raise InvalidFile(f"The arrays hold different numbers of samples: {said}. Send the same number in each.")
    if most > 1 and (single := [n for n, c in counts.items() if c == 1]):
        messages.append(f"Used in every sample: {_few(single)}.")
    if most > MAX_SAMPLES:
        raise InvalidFile(f"The file holds {most:,} samples; at most {MAX_SAMPLES:,} are allowed. Send fewer.")
    return most


def _check_symbols(row: Row, inputs: Mapping[str, Value], fixed: Mapping[str, int], number: int) -> None:
    """One name of a dimension means one size, in all inputs of a sample."""
    seen = {s: (n, "sizes") for s, n in fixed.items()}
    for name, array in row.items():
        for symbol, size in zip(inputs[name].shape, array.shape, strict=True):
            if not isinstance(symbol, str):
                continue
            have, where = seen.setdefault(symbol, (size, name))
            if have != size and not (symbol in fixed and size == 1 == array.shape[0]):
                other = f"{have} in {where[:80]}" if where != "sizes" else f"{have} as given in sizes"
                raise InvalidFile(f"Sample {number + 1}: {symbol} is {size} in {name[:80]}, but {other}.")


def _labels(labels: np.ndarray, count: int, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Whole numbers are classes' numbers; text becomes the numbers of the model's names, or of the sorted ones."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iufU":
        raise InvalidFile(
            f"labels is {labels.dtype} {list(labels.shape)}; it must hold one whole number or name per sample."
        )
    if len(labels) != count:
        raise InvalidFile(f"labels has {len(labels):,} entries for {count:,} samples. Send one per sample.")
    if labels.dtype.kind == "U":
        classes = list(names) or sorted(set(labels.tolist()))
        if unknown := sorted(set(labels.tolist()) - set(classes)):
            near = get_close_matches(unknown[0], classes, 1)
            hint = f" Did you mean {near[0][:80]!r}?" if near else ""
            raise InvalidFile(f"labels holds {_few(unknown)}, which are not classes of the model.{hint}")
        return [classes.index(label) for label in labels.tolist()], classes
    whole = labels.astype(np.int64) if np.isfinite(labels).all() else labels
    if not np.array_equal(whole, labels) or whole.min() < 0:
        raise InvalidFile("labels holds negative numbers or fractions; class numbers are 0, 1, 2 …")
    if names and whole.max() >= len(names):
        raise InvalidFile(f"labels goes up to {whole.max():,}, but the model has {len(names):,} classes, numbered from 0.")
    return [int(n) for n in whole], list(names)
