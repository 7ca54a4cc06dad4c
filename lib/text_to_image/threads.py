"""Choose the number of CPU threads for a call of a network.

OpenMP threads synchronize after every operator, so a small call gains little from a second core and waits long for it if
other processes use that core. Measured with the embedded model on two cores: two UNet rows take 18 ms with one thread and
17 with two, but 50 and 170 next to two busy processes; 32 rows take 150 ms with one and 91 with two, but next to busy
processes two are slower again. So:

* for calls with a single request the number depends on the size only, so that its picture is reproducible;
* calls shared by several requests, whose rounding depends on the batch anyway, use what was fastest lately: one thread,
  or all cores with a part of the rows each, which synchronize once per call instead of after every operator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Parameters of the network times positions (latent pixels, tokens) up to which a lone call gets one thread: eight
# rows of the embedded model at 128 px. Stable Diffusion's smallest call is a hundred times that.
SMALL = 10e9
MIN_PAUSE, MAX_PAUSE = 4, 64  # calls until the slower number of threads is tried again


@dataclass(slots=True)
class Race:
    """Latest seconds per position with one thread and with all. The slower choice is retried from time to time."""

    seconds: dict[int, float] = field(default_factory=dict)
    pause: int = MIN_PAUSE
    calls: int = 0

    def choose(self, one: int, max_threads: int) -> int:
        """Return the number of threads for the next call: ``one`` or ``max_threads``."""
        for threads in (max_threads, one):
            if threads not in self.seconds:
                return threads
        faster = min(self.seconds, key=self.seconds.__getitem__)
        self.calls += 1
        if self.calls < self.pause:
            return faster
        self.calls, self.pause = 0, min(2 * self.pause, MAX_PAUSE)
        return one + max_threads - faster

    def note(self, threads: int, seconds: float) -> None:
        """Record the seconds per position of a call."""
        faster = min(self.seconds, key=self.seconds.__getitem__, default=threads)
        # measurements of the slower one are outdated; those of the faster one are recent
        self.seconds[threads] = (self.seconds.get(threads, seconds) + seconds) / 2 if threads == faster else seconds
        if min(self.seconds, key=self.seconds.__getitem__) != faster:
            self.calls, self.pause = 0, MIN_PAUSE  # the machine's load has changed: measure again soon


class Threads:
    """Threads of one model, used by one thread at a time. ``max_threads`` is 1 unless the device is a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.max_threads = all_threads() if device.type == "cpu" else 1
        self._sizes: dict[int, int] = {}
        self._races: dict[tuple[int, int], Race] = {}
        self._others = ThreadPoolExecutor(max(1, self.max_threads - 1), thread_name_prefix="rows")

    @contextmanager
    def use(self, network: Any, positions: int, *, together: bool = False, one: bool = False) -> Iterator[None]:
        """Set the number of threads in the block. ``together``: several requests share the call; ``one``: one thread."""
        if self.max_threads == 1:
            yield
        elif one or not together:
            with _set(1 if one or self._size(network) * positions <= SMALL else self.max_threads):
                yield
        else:
            race = self._races.setdefault((id(network), positions.bit_length()), Race())
            threads = race.choose(1, self.max_threads)
            start_time = time.perf_counter()
            with _set(threads):
                yield
            race.note(threads, (time.perf_counter() - start_time) / positions)

    def shared(self, network: Any, act: Callable[[int, int], torch.Tensor], rows: int, positions: int) -> torch.Tensor:
        """Return [rows, ...] from ``act(start, stop)`` of all rows at once or of a part per core, whichever was faster.

        For calls that several requests share. ``act`` must not depend on other threads. Raises what ``act`` raises.
        """
        import torch

        with self.use(network, positions, together=True):
            threads = torch.get_num_threads() if self.max_threads > 1 else 1
            parts = min(rows, threads)
            if parts == 1:
                return act(0, rows)

            @torch.inference_mode()
            def part(k: int) -> torch.Tensor:
                torch.set_num_threads(threads // parts)  # of this thread; ``use`` restores the caller's
                return act(rows * k // parts, rows * (k + 1) // parts)

            futures = [self._others.submit(part, k) for k in range(1, parts)]
            try:
                first = part(0)
            finally:
                wait(futures)  # they use the model, so wait for all of them
            return torch.cat([first, *(future.result() for future in futures)])

    def _size(self, network: Any) -> int:
        if id(network) not in self._sizes:
            self._sizes[id(network)] = sum(p.numel() for p in network.parameters())
        return self._sizes[id(network)]


_default: int | None = None


def all_threads() -> int:
    """Return torch's default number of threads. A thread that starts during ``use`` would read the changed number."""
    import torch

    return torch.get_num_threads() if _default is None else _default


@contextmanager
def _set(threads: int) -> Iterator[None]:
    """Set the number of threads of the calling thread. Threads that start meanwhile inherit it from torch."""
    import torch

    global _default
    before = torch.get_num_threads()
    _default = _default or before
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
