"""Queue of waiting tickets: round robin over models and picture sizes, and within each over owners.

Many large pictures do not delay a small one, and a visitor with fifty requests does not delay a visitor with one. Not
thread-safe: the engine's lock guards it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator

from lib.text_to_image.ticket import Ticket

Turns = dict[str, deque[Ticket]]


class FairQueue:
    """Fair queue of tickets. The order of the dictionaries is the order of turns: a served key moves to the end."""

    def __init__(self) -> None:
        self._keys: dict[Hashable, Turns] = {}

    def __len__(self) -> int:
        return sum(len(line) for turns in self._keys.values() for line in turns.values())

    def push(self, key: Hashable, ticket: Ticket) -> None:
        """Add a ticket to the turns of its key and owner."""
        self._keys.setdefault(key, {}).setdefault(ticket.owner, deque()).append(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Remove a ticket. Returns whether it was in the queue."""
        for key, turns in self._keys.items():
            if ticket in turns.get(ticket.owner, ()):
                self._take(key, ticket.owner, ticket)
                return True
        return False

    def pop(self, accept: Callable[[Ticket], bool]) -> Ticket | None:
        """Remove and return the next ticket that ``accept`` accepts, or None. Only the first ticket of a key and owner is
        tried, so tickets of the same key and owner keep their order."""
        for key, turns in list(self._keys.items()):
            for owner, line in list(turns.items()):
                if accept(line[0]):
                    ticket = line[0]
                    self._take(key, owner, ticket)
                    if key in self._keys:  # both move to the end
                        turns = self._keys.pop(key)
                        if owner in turns:
                            turns[owner] = turns.pop(owner)
                        self._keys[key] = turns
                    return ticket
        return None

    def order(self) -> Iterator[Ticket]:
        """Yield all waiting tickets in the order in which they would be served if all were accepted."""
        keys = [[list(line) for line in turns.values()] for turns in self._keys.values()]
        while keys:
            for turns in list(keys):
                line = turns.pop(0)
                yield line.pop(0)
                if line:
                    turns.append(line)
                if not turns:
                    keys.remove(turns)

    def _take(self, key: Hashable, owner: str, ticket: Ticket) -> None:
        turns = self._keys[key]
        turns[owner].remove(ticket)
        if not turns[owner]:
            del turns[owner]
        if not turns:
            del self._keys[key]
