"""A bounded queue and the daemon thread that empties it, for processes that must not wait.

Enters: items, each in a slot that holds one, so that the newest wins and a gateway that hangs
can't make the queue grow. Leaves: batches, in the order in which they came, to a function that
delivers them in a thread of its own; in an outage, what is over half of the room or still waits at
the end goes to a function that keeps it elsewhere. Nothing here raises, or blocks but for
:meth:`Queue.flush` and :meth:`Queue.stop`.
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
    from collections.abc import Callable, Hashable, Iterable, Sequence

__all__ = ("Item", "Left", "Queue")

_FULL = "{count} reports are dropped: the queue is full ([pushgate] queue_size)"
_ENDED = "{count} reports are lost: the process ends before the gateway took them"
_LOST = "{count} reports are lost:"
_KEPT = "{count} reports wait in the outbox: the gateway does not take them"
_KEEPING = 0.25  # of the patience, for keeping what is left


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
    ``keep`` puts items where they survive the process, and returns whether it could.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[Item], bool], Left],
        *,
        size: int,
        patience: float,
        keep: Callable[[Sequence[Item]], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliver = deliver
        self._size = size
        self._patience = patience
        self._keep = keep
        self._clock = clock
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._waiting: dict[Hashable, tuple[float, Item]] = {}  # when it is due, and what
        self._weight = 0
        self._on_the_way: Sequence[Item] = ()
        self._weight_on_the_way = 0
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
            if weight + self._weight_on_the_way > self._size or not self._started():
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
            if self._waiting or self._on_the_way:
                self._flushes[0] += 1
                ticket = self._flushes[0]
                self._change.notify_all()
                self._change.wait_for(lambda: self._flushes[1] >= ticket, timeout)
            return self._weight + self._weight_on_the_way

    def stop(self) -> None:
        """Flush, keep what is left, and say what is lost: the process ends."""
        if not self.flush(self._patience * (1 - _KEEPING)):
            return
        with self._change:
            # What is on the way may arrive yet: then it is there when it comes from the outbox.
            left = {item.slot: item for item in self._on_the_way}
            left.update((slot, item) for slot, (_, item) in self._waiting.items())
            self._waiting, self._weight = {}, 0
            self._on_the_way, self._weight_on_the_way = (), 0
        items = [*left.values()]
        if not self._kept(items):
            self._log.say("end", _ENDED, sum(item.weight for item in items))

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
            if left.outage:
                self._make_room()
            with self._change:
                self._flushes[1] = flushes
                self._change.notify_all()

    def _make_room(self) -> None:
        """Keep what waits in an outage, before there is no room for more."""
        with self._change:
            if 2 * self._weight <= self._size:
                return
            items = self._take(tuple(self._waiting))
        kept = self._kept(items)
        with self._change:
            self._put_back(Left(() if kept else items))

    def _kept(self, items: Sequence[Item]) -> bool:
        try:
            kept = self._keep(items)
        except Exception as error:  # a mistake of ours
            self._log.say("bug", f"nothing is kept: {type(error).__name__}: {error}")
            return False
        if kept:
            self._log.say("kept", _KEPT, sum(item.weight for item in items))
        return kept

    def _await_batch(self) -> tuple[list[Item], int]:
        while True:
            now = self._clock()
            flushes = self._flushes[0]
            if flushes > self._flushes[1]:
                due = tuple(self._waiting)
            elif now >= self._blocked_until:
                due = tuple(slot for slot, (at, _) in self._waiting.items() if at <= now)
            else:
                due = ()
            if due or flushes > self._flushes[1]:
                self._wakes_at = -math.inf
                return self._take(due), flushes
            nearest = min((at for at, _ in self._waiting.values()), default=math.inf)
            self._wakes_at = max(nearest, self._blocked_until)
            self._change.wait(None if nearest == math.inf else self._wakes_at - now)

    def _take(self, slots: Iterable[Hashable]) -> list[Item]:
        items = [self._waiting.pop(slot)[1] for slot in slots]
        self._on_the_way = items
        self._weight_on_the_way = sum(item.weight for item in items)
        self._weight -= self._weight_on_the_way
        return items

    def _put_back(self, left: Left) -> None:
        self._on_the_way, self._weight_on_the_way = (), 0
        again = self._clock() + left.pause
        if left.outage:
            self._blocked_until = again
        newer, self._waiting = self._waiting, {}
        for item in left.items:
            if item.slot not in newer:
                self._waiting[item.slot] = (again, item)
                self._weight += item.weight
        self._waiting.update(newer)
