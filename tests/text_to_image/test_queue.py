from __future__ import annotations

from lib.text_to_image.queue import FairQueue
from lib.text_to_image.request import Request
from lib.text_to_image.ticket import Ticket


def ticket(name: str, owner: str = "") -> Ticket:
    return Ticket(Request(prompt=name), owner=owner)


def drain(queue: FairQueue, accept=lambda t: True) -> list[str]:
    names = []
    while (found := queue.pop(accept)) is not None:
        names.append(found.request.prompt)
    return names


def filled() -> FairQueue:
    queue = FairQueue()
    for k in range(3):
        queue.push("large", ticket(f"L{k}", "ann"))
    queue.push("small", ticket("s0", "ann"))
    queue.push("large", ticket("B0", "ben"))
    queue.push("small", ticket("s1", "ann"))
    return queue


def test_turns_go_round_sizes_and_owners() -> None:
    assert drain(filled()) == ["L0", "s0", "B0", "s1", "L1", "L2"]


def test_order_tells_what_pop_will_do() -> None:
    queue = filled()
    foretold = [t.request.prompt for t in queue.order()]
    assert len(queue) == 6
    assert foretold == drain(queue) and len(queue) == 0


def test_what_cannot_go_now_holds_up_no_other_size() -> None:
    queue = filled()
    assert drain(queue, lambda t: t.request.prompt.startswith("s")) == ["s0", "s1"]
    assert drain(queue) == ["L0", "B0", "L1", "L2"]


def test_remove() -> None:
    queue = filled()
    gone = next(t for t in queue.order() if t.request.prompt == "B0")
    assert queue.remove(gone) and not queue.remove(gone)
    assert "B0" not in drain(queue)
