"""Every error that a visitor can meet.

WorkbenchError
├── InvalidValue (ValueError)   a value out of range or of the wrong kind; nothing was started
├── QueueFull                   too many are waiting; try again later
├── ModelUnavailable            no such model in the catalogue, or it is not loaded (yet)
├── NotFound                    no such run or data set (any more)
├── InvalidFile (ValueError)    an uploaded file is not what it should be; it was not used
├── TooSlow                     a body came so slowly that its place was needed; nothing was started
├── Cancelled                   the caller went away or pressed Stop
├── GenerationFailed            the model broke on this request; others are not affected
└── JobFailed                   the child process that worked on a file broke or crashed
    └── LimitExceeded           it ran into its limit of memory, time or size

A message says what was given, what is allowed and what to do. It never holds a path of this
machine. ``web/errors.py`` turns these into messages of the page and into HTTP status codes.
"""

from __future__ import annotations

import errno

# PyTorch has no class for a CPU without memory: it raises RuntimeError with a text of the allocator, which is
# "can't allocate memory" on Linux and "not enough memory" on Windows. CUDA and MPS write "out of memory".
OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "bad_alloc")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the memory of the machine or of its accelerator does not suffice."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        return any(words in str(error) for words in OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


class WorkbenchError(Exception):
    """Base class: catch this one to catch them all."""

    @property
    def message(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple:
        """Errors cross processes: rebuilt from their state, not by calling a constructor."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[WorkbenchError], args: tuple, state: dict) -> WorkbenchError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidValue(WorkbenchError, ValueError):
    """``field`` was ``given``; ``allowed`` says what it may be."""

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
    """A body of which ``received`` bytes came in ``seconds``."""

    def __init__(self, received: int, seconds: float) -> None:
        super().__init__(
            f"The body came too slowly: {received:,} bytes in {seconds:.0f} seconds, and then nothing in time. "
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
    """``what`` (memory, time …) went over ``limit``."""

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"Stopped: the {what} went over the limit of {limit}. A smaller model or fewer runs may fit.")
        self.what = what
