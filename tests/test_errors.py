from __future__ import annotations

import pickle

import pytest

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
