"""What a visitor reads when a tool gives up: one line, in words about the model."""

from __future__ import annotations

import numpy as np
import pytest

from lib.convert.core.tool_messages import LONGEST, sanitize_message
from lib.errors import JobFailed


def raised(run) -> Exception:
    with pytest.raises(Exception) as found:
        run()
    return found.value


@pytest.mark.parametrize(
    "run",
    [
        lambda: (1.5)["x"],
        lambda: None.shape,
        lambda: {}["weight"],
        lambda: [][3],
        lambda: bool(np.zeros(2) == 0),
        lambda: np.zeros(2) + np.zeros(3),
    ],
)
def test_a_tools_own_variables_are_not_shown(run) -> None:
    said = sanitize_message(raised(run))
    assert said.startswith("it met something unexpected in this model (")
    assert "object" not in said and "array" not in said


def test_one_line_without_colours_and_not_too_long() -> None:
    assert sanitize_message(ValueError("\x1b[1mshape\x1b[0m of\n  x is\x1b[38;5;34m 3\x1b[0m")) == "shape of x is 3"
    assert sanitize_message(JobFailed("onnxruntime refused: no such kernel")) == "onnxruntime refused: no such kernel"
    assert len(sanitize_message(ValueError("long " * 1000))) == LONGEST
    assert sanitize_message(ValueError("")) == "ValueError"
