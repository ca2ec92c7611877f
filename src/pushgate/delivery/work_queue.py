"""A bounded queue and the daemon thread that empties it, for callers that must not wait."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

from ..transport.background import in_background
from .pending import Pending
from .waiting_work import Undelivered, WaitingWork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

    from ..log import RateLimitedLogger
    from .report import Report

_FULL = "{count} reports are dropped: the queue is full, and the outbox can't take them"
_NO_THREAD = "{count} reports are dropped: no thread can be started"
_ENDED = "{count} reports are lost: the process ends before the gateway took them"
_KEPT = "{count} reports wait in the outbox: the gateway does not take them"
_EVERY = 60.0  # seconds
_LONGEST_IN_MEMORY = 60.0  # seconds of an outage: a process that is killed loses what waits there
_KEEP_TIMEOUT = 10.0  # seconds, on a disk that is very busy


class WorkQueue:
    """Holds the newest work of each slot; a forked child begins with none.

    ``deliver`` is called in the thread with what is due, by slot, and whether it is the last
    chance; also each minute with nothing. What is not urgent waits until ``interval`` seconds
    after the last delivery. ``keep`` puts all that waits where it survives the process, once that
    is more than ``size`` reports, in an outage half of it, and in each try to deliver once the
    outage lasts a minute; it returns whether it could.
    """

    def __init__(
        self,
        deliver: Callable[[Mapping[Hashable, WaitingWork], bool], Undelivered],
        keep: Callable[[Iterable[WaitingWork]], bool],
        *,
        size: int,
        patience: float,
        interval: float,
        log: RateLimitedLogger,
    ) -> None:
        self._deliver = deliver
        self._keep = keep
        self._size = size
        self._interval = interval
        self._patience = patience
        self._log = log
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._change = threading.Condition()
        self._waiting: Pending[Hashable, WaitingWork] = Pending(lambda _, newer: newer)
        self._weight = 0  # of what waits
        self._under_way: dict[Hashable, WaitingWork] = {}
        self._numbers = count()
        self._blocked_until = self._paced_until = -math.inf
        self._away_since = math.inf  # the gateway
        self._flushes = [0, 0]  # asked for, and done
        self._thread: threading.Thread | None = None
        self._may_make_room = True  # while no other thread does, and none has failed to

    def put(
        self,
        slot: Hashable,
        make: Callable[[], Iterable[Report]],
        *,
        weight: int = 1,
        delay: float = 0.0,
        is_urgent: bool = True,
    ) -> bool:
        """Deliver what ``make()`` yields, in ``delay`` seconds at the earliest. False: dropped.

        It replaces what waits in the same slot. ``make`` is called in the thread, and again at each
        try; ``weight`` says how many reports it stands for. With urgent work all goes that is due.
        """
        if self._process != os.getpid():
            self._begin()
        with self._change:
            if self._thread is None:
                self._thread = in_background(self._run, "pushgate-queue")
                if self._thread is None:
                    self._log.warning(_NO_THREAD, subject="thread", count=weight)
                    return False
                atexit.register(self.close)
            before = self._waiting.get(slot)
            total = self._weight + weight - (before.weight if before else 0)
            if total > 2 * self._size:
                self._log.warning(_FULL, subject="full", count=weight)
                return False
            at = time.monotonic() + delay
            self._waiting.put(slot, WaitingWork(make, weight, next(self._numbers)), at)
            self._weight = total
            if is_urgent:
                self._paced_until = -math.inf
            self._change.notify_all()
            if total <= self._size or not self._may_make_room:
                return True
            self._may_make_room = False
        # The thread of the queue may hang in a push.
        if in_background(self._make_room, "pushgate-keep") is None:
            self._may_make_room = True
        return True

    def flush(self, timeout: float) -> int:
        """Try once to deliver all that waits, within ``timeout`` seconds: how many are left."""
        if self._process != os.getpid():
            self._begin()
        with self._change:
            if self._waiting or self._under_way:
                self._flushes[0] += 1
                ticket = self._flushes[0]
                self._change.notify_all()
                self._change.wait_for(lambda: self._flushes[1] >= ticket, timeout)
            return self._weight + sum(work.weight for work in self._under_way.values())

    def close(self) -> None:
        """Flush, and keep what is left; the end of the process does this too."""
        if self._process != os.getpid():
            return  # at the exit of a forked child, which has neither the thread nor the work
        try:
            if self.flush(self._patience):
                self._keep_rest()
        finally:
            atexit.unregister(self.close)
            with self._change:
                self._thread = None
                self._change.notify_all()

    def _keep_rest(self) -> None:
        with self._change:
            # What is under way may arrive yet: the outbox then finds it there.
            left = [*{**self._under_way, **self._waiting.clear()}.values()]
            self._weight, self._under_way = 0, {}
        kept: list[bool] = []

        def keep() -> None:
            kept.append(self._kept(left))

        if (keeper := in_background(keep, "pushgate-keep")) is None:
            keep()
        else:
            keeper.join(_KEEP_TIMEOUT)
        if not any(kept):
            self._log.warning(_ENDED, subject="end", count=sum(work.weight for work in left))

    def _run(self) -> None:
        mine = threading.current_thread()
        while True:
            with self._change:
                flushes = self._await_work(mine)
                if flushes is None:
                    return
            try:
                left = self._deliver(self._under_way, flushes > self._flushes[1])
            except Exception as error:  # a mistake of ours: the thread must go on
                left = Undelivered()
                lost = sum(work.weight for work in self._under_way.values())
                text = f"{{count}} reports are lost: {error!r}"
                self._log.warning(text, subject="fault", count=lost)
            with self._change:
                if self._thread is not mine:
                    return  # closed while this hung, and all was kept then
                self._put_back(left)
                now = time.monotonic()
            self._away_since = min(self._away_since, now) if left.gateway_is_away else math.inf
            is_crowded = left.gateway_is_away and 2 * self._weight > self._size
            if is_crowded or (self._weight and now - self._away_since >= _LONGEST_IN_MEMORY):
                self._make_room()
            with self._change:
                self._flushes[1] = flushes
                self._change.notify_all()

    def _await_work(self, mine: threading.Thread) -> int | None:
        """Take what is due, once it is: how many flushes were asked for, None once closed."""
        idle_until = time.monotonic() + _EVERY
        while self._thread is mine:
            now, flushes = time.monotonic(), self._flushes[0]
            due = self._waiting.next_due()
            if due is not None:
                due = max(due, self._blocked_until, self._paced_until)
            is_flush = flushes > self._flushes[1]
            is_due = due is not None and due <= now
            if is_flush or is_due or now >= idle_until:
                self._take(math.inf if is_flush else now if is_due else -math.inf)
                return flushes
            self._change.wait(min(idle_until, due or idle_until) - now)
        return None

    def _take(self, until: float) -> None:
        taken = dict(iter(lambda: self._waiting.take(until), None))
        self._under_way = dict(sorted(taken.items(), key=lambda item: item[1].number))
        self._weight -= sum(work.weight for work in taken.values())

    def _put_back(self, left: Undelivered) -> None:
        again = time.monotonic() + left.pause
        self._blocked_until = again if left.gateway_is_away else -math.inf
        if self._under_way:
            self._paced_until = time.monotonic() + self._interval
        failed = {slot: self._under_way[slot] for slot in left.slots if slot in self._under_way}
        self._under_way = {}
        self._restore({s: work._replace(was_tried=True) for s, work in failed.items()}, again)

    def _restore(self, works: Mapping[Hashable, WaitingWork], at: float) -> None:
        for slot, work in works.items():
            if self._waiting.get(slot) is None:  # else there is newer work
                self._waiting.put(slot, work, at)
                self._weight += work.weight

    def _make_room(self) -> None:
        """Keep all that waits."""
        with self._change:
            waiting = self._waiting.clear()
            self._weight = 0
        kept = self._kept(waiting.values())
        with self._change:
            self._may_make_room = kept
            if not kept:
                self._restore(waiting, time.monotonic())

    def _kept(self, work: Collection[WaitingWork]) -> bool:
        try:
            kept = self._keep(work)
        except Exception as error:  # a mistake of ours
            self._log.warning(f"nothing is kept: {error!r}", subject="keep")
            return False
        if kept:
            self._log.warning(_KEPT, subject="kept", count=sum(each.weight for each in work))
        return kept
