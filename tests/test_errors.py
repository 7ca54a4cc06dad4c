from __future__ import annotations

import pickle

import pytest
import torch

from lib import errors
from web.errors import STATUS, as_response

EVERY = [
    errors.InvalidValue("steps", 0, "1 to 150"),
    errors.QueueFull(3),
    errors.ModelUnavailable("no model"),
    errors.Cancelled(),
    errors.GenerationFailed("it broke"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda e: type(e).__name__)
def test_an_error_survives_the_way_between_processes(error: errors.WorkbenchError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


@pytest.mark.parametrize(("error", "status"), zip(EVERY, (422, 429, 503, 499, 500), strict=True))
def test_statuses(error: errors.WorkbenchError, status: int) -> None:
    assert as_response(error).status_code == status


def test_every_kind_is_in_the_documented_tree() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.WorkbenchError)]
    assert all(kind.__name__ in errors.__doc__ for kind in kinds) and set(STATUS) <= set(kinds)


def test_a_cpu_without_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert errors.out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (RuntimeError("[enforce fail] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (errors.InvalidValue("prompt", "not enough memory", "text"), False),
    ],
    ids=lambda given: given if isinstance(given, bool) else str(given)[-30:],
)
def test_what_counts_as_too_little_memory(error: Exception, memory: bool) -> None:
    assert errors.out_of_memory(error) is memory
