"""Random sequences of what jobs, people and outages do, each from a seed.

In: a seed. Out: a plan, whose steps are plain values.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from support import outage_proxy, outbox_families
from support.outbox_model import Change

GROUPS = ("alpha", "beta", "gamma")
WORKERS = 3
MOST_SLOW = 4  # calls that end by their time-out in one sequence: they are what takes the time

UP, DOWN, PAUSED = "up", "down", "paused"
_QUICK_FAULTS = (outage_proxy.BUSY, outage_proxy.DENY, outage_proxy.RESET, outage_proxy.UNREAD)
_SLOW_FAULTS = (outage_proxy.HANG, outage_proxy.SILENT, outage_proxy.ASIDE)


class Push(NamedTuple):
    """``death``: the worker is killed in the middle, so many milliseconds after the order, or, at
    0, when its request is seen."""

    worker: int
    group: str
    change: Change
    death: float | None = None


class Flush(NamedTuple):
    worker: int


class Pair(NamedTuple):
    """Two at once."""

    first: Push
    second: Push | Flush


class Mode(NamedTuple):
    """Of the proxy."""

    mode: str


class Kill(NamedTuple):
    """SIGKILL to the gateway."""


class End(NamedTuple):
    """SIGTERM to the gateway, which then saves what it holds, where it persists."""


class Start(NamedTuple):
    """The gateway runs again: started, or woken."""


class Pause(NamedTuple):
    """SIGSTOP to the gateway."""


Step = Push | Flush | Pair | Mode | Kill | End | Start | Pause


class Plan(NamedTuple):
    seed: int
    persists: bool  # the gateway
    direct: bool  # without the proxy
    steps: tuple[Step, ...]


def plan(seed: int) -> Plan:
    return _Planner(seed).plan()


class _Planner:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._number = 0
        self._gateway = UP
        self._mode = outage_proxy.OPEN
        self._slow = 0
        self._groups = GROUPS[: self._random.choice((1, 2, 2, 3))]
        self._names = tuple(
            self._random.sample(outbox_families.PLAIN, self._random.choice((2, 3, 4)))
        )

    def plan(self) -> Plan:
        persists, direct = self._random.random() < 0.4, self._random.random() < 0.25
        steps: list[Step] = []
        for _ in range(self._random.randint(6, 22)):
            if self._random.random() < 0.35:
                steps += self._turn(direct)
            steps.append(self._act())
        return Plan(self._seed, persists, direct, tuple(steps))

    def _turn(self, direct: bool) -> list[Step]:
        """The weather changes."""
        if self._gateway != UP:
            self._gateway = UP
            return [Start()]
        if self._mode != outage_proxy.OPEN and self._random.random() < 0.7:
            self._mode = outage_proxy.OPEN
            return [Mode(self._mode)]
        draw = self._random.random()
        if direct or draw < 0.3:
            if self._random.random() < 0.3 and self._mode == outage_proxy.OPEN:
                self._gateway = PAUSED
                return [Pause()]
            self._gateway = DOWN
            step = self._random.choice((Kill(), End()))
            if self._random.random() < 0.5:
                self._gateway = UP
                return [step, Start()]
            return [step]
        if draw < 0.45:
            self._mode = outage_proxy.FLAKY
        else:
            slow = self._slow < MOST_SLOW and self._random.random() < 0.35
            self._mode = self._random.choice(_SLOW_FAULTS if slow else _QUICK_FAULTS)
        return [Mode(self._mode)]

    def _act(self) -> Step:
        slow = self._gateway == PAUSED or self._mode in _SLOW_FAULTS
        if slow:
            self._slow += 1
            if self._slow > MOST_SLOW:
                self._gateway, self._mode = UP, outage_proxy.OPEN
                return Mode(self._mode)  # starts the gateway, too
        draw = self._random.random()
        worker = self._random.randrange(WORKERS)
        if draw < 0.1:
            return Flush(worker)
        first = Push(worker, self._random.choice(self._groups), self._change())
        steady = self._gateway == UP and self._mode != outage_proxy.FLAKY
        if draw < 0.22 and steady:
            other = (worker + self._random.randrange(1, WORKERS)) % WORKERS
            if self._random.random() < 0.2:
                return Pair(first, Flush(other))
            second = Push(other, self._random.choice(self._groups), self._change())
            # Of two outcomes, the one of the later run wins, whichever comes later.
            while second.group == first.group and _is_outcome(first) and _is_outcome(second):
                second = second._replace(change=self._change())
            return Pair(first, second)
        # What a killed sender has under way while the gateway is stopped, nothing on the host
        # knows of: nobody can promise what becomes of it.
        if draw < 0.32 and not (self._gateway == PAUSED or self._mode == outage_proxy.ASIDE):
            death = 0.0 if self._random.random() < 0.5 else self._random.uniform(0.1, 6)
            return first._replace(death=death)
        return first

    def _change(self) -> Change:
        draw = self._random.random()
        if draw < 0.12:
            return Change("DELETE")
        if draw < 0.2:
            # Nobody takes note of a heartbeat; performed late, it makes a deleted group anew.
            is_late = self._gateway == PAUSED or self._mode == outage_proxy.ASIDE
            return Change("PUT" if is_late else self._random.choice(("PUT", "POST")))
        method = "POST" if draw < 0.75 else "PUT"
        if self._random.random() < 0.35:
            names = [*outbox_families.OUTCOME]
            names.append(self._random.choice((outbox_families.SUCCESS, outbox_families.FAILURE)))
            return Change(method, frozenset((name, self._next(name)) for name in names))
        names = self._random.sample(self._names, self._random.randint(1, len(self._names)))
        return Change(method, frozenset((name, self._next(name)) for name in names))

    def _next(self, name: str) -> float:
        """Mostly a number of its own; at times one that may have been pushed before."""
        if name in outbox_families.PLAIN and self._random.random() < 0.15:
            return float(self._random.randint(1, 2))
        self._number += 1
        return 10.0 + self._number


def _is_outcome(push: Push) -> bool:
    return any(name == outbox_families.OUTCOME[0] for name, _ in push.change.families)
