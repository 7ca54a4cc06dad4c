"""Exceptions that a visitor can see.

WorkbenchError
├── InvalidValue (ValueError)   a value is out of range or of the wrong type; nothing was started
├── QueueFull                   too many requests are waiting; try again later
├── ModelUnavailable            the model is not in the catalogue, or not loaded (yet)
├── NotFound                    the run or data set does not exist (any more)
├── InvalidFile (ValueError)    an uploaded file is not valid; it was not used
├── TooSlow                     a request body arrived too slowly; nothing was started
├── Cancelled                   the client disconnected or pressed Stop
├── GenerationFailed            the model failed on this request; others are not affected
└── JobFailed                   the child process that handled a file failed or crashed
    └── LimitExceeded           it exceeded a limit of memory, time or size

Messages say what was given, what is allowed and what to do, and never contain a path of this machine.
``web/errors.py`` maps these classes to messages on the page and to HTTP status codes.
"""

from __future__ import annotations

import errno

# PyTorch has no exception class for CPU memory: it raises RuntimeError with the allocator's message, which contains
# "can't allocate memory" on Linux and "not enough memory" on Windows. For CUDA and MPS it is "out of memory".
OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "bad_alloc")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` means that the machine or its accelerator ran out of memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        return any(words in str(error) for words in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


class WorkbenchError(Exception):
    """Base class of all exceptions of the app."""

    @property
    def message(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple:
        """Pickles the state, so that unpickling in another process does not call the constructor."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[WorkbenchError], args: tuple, state: dict) -> WorkbenchError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidValue(WorkbenchError, ValueError):
    """``field`` was ``given``; ``allowed`` describes the valid values."""

    def __init__(self, field: str, given: object, allowed: str) -> None:
        shown = repr(given)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{field} was {shown}; allowed: {allowed}{'' if allowed.endswith('?') else '.'}")
        self.field, self.given, self.allowed = field, given, allowed


class QueueFull(WorkbenchError):
    def __init__(self, waiting: int) -> None:
        super().__init__(f"The queue is full ({waiting} waiting). Please try again in a moment.")


class ModelUnavailable(WorkbenchError):
    pass


class NotFound(WorkbenchError):
    pass


class InvalidFile(WorkbenchError, ValueError):
    pass


class TooSlow(WorkbenchError):
    """Only ``received`` bytes of a request body arrived in ``seconds``."""

    def __init__(self, received: int, seconds: float) -> None:
        super().__init__(
            f"The request body arrived too slowly: {received:,} bytes in {seconds:.0f} seconds, then a timeout. "
            "Send it over a faster connection."
        )
        self.received = received


class Cancelled(WorkbenchError):
    def __init__(self) -> None:
        super().__init__("The request was stopped.")


class GenerationFailed(WorkbenchError):
    pass


class JobFailed(WorkbenchError):
    pass


class LimitExceeded(JobFailed):
    """``what`` (memory, time, ...) exceeded ``limit``."""

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"Stopped: the {what} exceeded the limit of {limit}. A smaller model or fewer runs may fit.")
        self.what = what
