"""Turn errors of tools and runtimes into one line for a visitor, without stack traces, paths or Python internals."""

from __future__ import annotations

import re

from lib.errors import WorkbenchError
from lib.onnx_model.words import clean

LONGEST = 300  # characters
COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
# raised by bugs in a tool: the message is about the tool's own variables
INTERNAL = (AttributeError, KeyError, IndexError, NameError, AssertionError, UnboundLocalError, RecursionError, ImportError)


# messages of Python and numpy about a tool's own variables, for any type of error
OWN_VARIABLES = re.compile(
    r"truth value of|has no attribute|NoneType|not subscriptable|unhashable type|positional argument|keyword argument"
    r"|index out of range|values to unpack|not iterable|could not be broadcast"
)


def sanitize_message(error: BaseException) -> str:
    """Return the error as one line, without local paths, terminal colours or Python internals."""
    if isinstance(error, WorkbenchError):
        text = clean(COLOURS.sub("", error.message))
    elif isinstance(error, INTERNAL) or OWN_VARIABLES.search(str(error)[:2000]):
        text = f"it met something unexpected in this model ({type(error).__name__})"
    else:
        text = clean(COLOURS.sub("", str(error))) or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
