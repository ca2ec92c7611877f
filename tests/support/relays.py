"""Aggregators for tests of the relay, which its pusher process imports.

They are fed records `[group, number]`, or changes as they are, and keep groups `{job=<group>}` that
tell which numbers arrived, or what the changes say.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pushgate import Change, Family, GroupingKey, gauge

DROPS = GroupingKey("drops")


class Ledger:
    """Counts what it is fed, so that a test can tell whether every record arrived, and once.

    Options: `raise_on` and `dies_on`, numbers to raise and to die on; `counter_of`, a group to push
    as a counter; `pace`, that of all changes.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._raise_on = options.get("raise_on")
        self._dies_on = options.get("dies_on")
        self._counter_of = options.get("counter_of")
        self._pace = options.get("pace", "normal")
        self._numbers: dict[str, list[int]] = {}
        self._dropped = 0

    def feed(self, record: Any, now: float) -> Iterator[Change]:
        group, number = record[:2]
        if number == self._dies_on:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self._raise_on:
            raise ValueError(f"the ledger refuses {number}")
        self._numbers.setdefault(group, []).append(number)
        yield Change("PUT", GroupingKey(group), _Page(lambda: self._page(group)), self._pace)

    def dropped(self, count: int) -> Iterable[Change]:
        self._dropped += count
        page = _Page(lambda: [gauge("dropped", "", self._dropped)])
        return [Change("PUT", DROPS, page)]

    def abandoned(self, now: float) -> Iterable[Change]:
        return [Change("POST", GroupingKey("abandoned"), [gauge("abandoned", "", 1)])]

    def closed(self, now: float) -> Iterable[Change]:
        return [Change("POST", GroupingKey("closed"), [gauge("closed", "", 1)])]

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> Iterable[Change]:
        return ()

    def _page(self, group: str) -> list[Family]:
        numbers = self._numbers[group]
        values = {"records": len(numbers), "distinct": len(set(numbers)), "sum": sum(numbers)}
        kind = "counter" if group == self._counter_of else "gauge"
        families = [gauge(name, "", value) for name, value in values.items()]
        return [family._replace(type=kind) for family in families]


class _Page:
    def __init__(self, collect: Any) -> None:
        self.collect = collect


class Echo:
    """Its records are changes: `[method, group, {name: value}]`; "live" collects them later."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._live: dict[str, _Page] = {}

    def feed(self, record: Any, now: float) -> Iterable[Change]:
        method, group, values, *live = record
        families = [gauge(name, "", value) for name, value in values.items()]
        metrics: Any = self._live.setdefault(str(values), _Page(lambda: families))
        return [Change(method, GroupingKey(group), metrics if live else families)]

    def dropped(self, count: int) -> Iterable[Change]:
        return ()

    def abandoned(self, now: float) -> Iterable[Change]:
        return ()

    def closed(self, now: float) -> Iterable[Change]:
        return ()

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> Iterable[Change]:
        raise ZeroDivisionError  # a mistake that costs nothing


def refusing(options: Mapping[str, Any]) -> Ledger:
    raise ValueError("these options are no good")
