"""A bounded queue and the daemon thread that empties it, for processes that must not wait.

Enters: items, each in a slot that holds one, so that the newest wins and a gateway that hangs
can't make the queue grow. Leaves: batches, in the order in which they came, to a function that
delivers them in a thread of its own. Nothing here raises, or blocks but for :meth:`Queue.flush`.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate_airflow._seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ("Item", "Left", "Queue")

_FULL = "{count} reports are dropped: the queue is full ([pushgate] queue_size)"
_ENDED = "{count} reports are lost: the process ends before the gateway took them"
_LOST = "{count} reports are lost:"


class Item(NamedTuple):
    """What waits: ``slot`` says whose place it takes, ``weight`` how many reports it stands for."""

    slot: Hashable
    what: Any
    weight: int = 1


class Left(NamedTuple):
    """What was not delivered, and for how many seconds it is to be left alone.

    ``outage``: so is all else that waits, because the gateway does not take it either.
    """

    items: Sequence[Item] = ()
    pause: float = 0.0
    outage: bool = False


class Queue:
    """The queue of the process that makes it; a forked child has neither its thread nor its items.

    ``deliver`` gets a batch and whether it is the last chance (a flush), in a daemon thread that
    starts with the first item, and returns what it could not deliver. ``size`` bounds the weight
    of all that waits; ``patience``, in seconds, how long the end of the process may be delayed.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[Item], bool], Left],
        *,
        size: int,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliver = deliver
        self._size = size
        self._patience = patience
        self._clock = clock
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._waiting: dict[Hashable, tuple[float, Item]] = {}  # when it is due, and what
        self._weight = 0
        self._on_the_way = (0, 0)  # how many items, and their weight
        self._blocked_until = -math.inf
        self._wakes_at = -math.inf  # when the thread looks again by itself
        self._flushes = [0, 0]  # asked for, and done
        self._thread: threading.Thread | None = None
        self._log = Seldom()

    @property
    def mine(self) -> bool:
        """Whether this process made the queue."""
        return self._pid == os.getpid()

    def put(self, item: Item, *, delay: float = 0.0) -> bool:
        """Add an item, to be delivered in ``delay`` seconds at the earliest. False: dropped."""
        with self._change:
            old = self._waiting.get(item.slot)
            weight = self._weight + item.weight - (old[1].weight if old else 0)
            if weight + self._on_the_way[1] > self._size or not self._started():
                self._log.say("full", _FULL, item.weight)
                return False
            self._waiting.pop(item.slot, None)  # so that it comes after what came before it
            due = self._clock() + delay
            self._waiting[item.slot] = (due, item)
            self._weight = weight
            if due < self._wakes_at:
                self._change.notify_all()
            return True

    def flush(self, timeout: float) -> int:
        """Try once to deliver all that waits, due or not; return the weight of what is left."""
        if not self.mine:
            return 0
        with self._change:
            if self._waiting or self._on_the_way[0]:
                self._flushes[0] += 1
                ticket = self._flushes[0]
                self._change.notify_all()
                self._change.wait_for(lambda: self._flushes[1] >= ticket, timeout)
            return self._weight + self._on_the_way[1]

    def stop(self) -> None:
        """Flush, and say what is lost: the process ends."""
        if left := self.flush(self._patience):
            self._log.say("end", _ENDED, left)

    def _started(self) -> bool:
        """Whether there is a thread. There is no new one where the interpreter shuts down."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="pushgate-listener", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
            atexit.register(self.stop)
        return True

    def _run(self) -> None:
        while True:
            with self._change:
                batch, flushes = self._await_batch()
            try:
                left = self._deliver(batch, flushes > self._flushes[1])
            except Exception as error:  # a mistake of ours: the thread must go on
                left = Left()
                lost = sum(item.weight for item in batch)
                self._log.say("bug", f"{_LOST} {type(error).__name__}: {error}", lost)
            with self._change:
                self._put_back(left)
                self._flushes[1] = flushes
                self._change.notify_all()

    def _await_batch(self) -> tuple[list[Item], int]:
        while True:
            now = self._clock()
            flushes = self._flushes[0]
            if flushes > self._flushes[1]:
                due = [item for _, item in self._waiting.values()]
            elif now >= self._blocked_until:
                due = [item for at, item in self._waiting.values() if at <= now]
            else:
                due = []
            if due or flushes > self._flushes[1]:
                for item in due:
                    del self._waiting[item.slot]
                self._on_the_way = (len(due), sum(item.weight for item in due))
                self._weight -= self._on_the_way[1]
                self._wakes_at = -math.inf
                return due, flushes
            nearest = min((at for at, _ in self._waiting.values()), default=math.inf)
            self._wakes_at = max(nearest, self._blocked_until)
            self._change.wait(None if nearest == math.inf else self._wakes_at - now)

    def _put_back(self, left: Left) -> None:
        self._on_the_way = (0, 0)
        again = self._clock() + left.pause
        if left.outage:
            self._blocked_until = again
        newer, self._waiting = self._waiting, {}
        for item in left.items:
            if item.slot not in newer:
                self._waiting[item.slot] = (again, item)
                self._weight += item.weight
        self._waiting.update(newer)
