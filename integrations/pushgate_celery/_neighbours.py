"""What the other groups at the gateway tell: a namesake of this worker, and groups to delete.

The groups that the gateway holds enter; lines for a person leave, and DELETEs of groups of runs,
which a worker that is gone has left behind, or which another one has renewed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import GroupingKey, InvalidGroupingKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pushgate import Change, Group
    from pushgate_celery._once import Once

__all__ = ("Neighbours",)

_START = "celery_worker_start_timestamp_seconds"
_EXPIRY = "batch_job_group_expiry_timestamp_seconds"
_SETTLED = 60.0  # seconds after the first push, from which on the group is ours or somebody else's


class Neighbours:
    """Looks at the gateway for the worker of ``key``, which started at ``started_at``.

    ``found`` is told of each group of a run, with the end of its lifetime, and the time.
    """

    def __init__(
        self,
        key: GroupingKey,
        started_at: float,
        interval: float,
        once: Once,
        found: Callable[[GroupingKey, float, float], list[Change]],
    ) -> None:
        self._key = key
        self._labels = key.labels
        self._started_at = started_at
        self._interval = interval
        self._once = once
        self._found = found
        self._first_push: float | None = None
        self._seen: float | None = None

    def pushed(self, now: float) -> None:
        """The worker's own group has arrived at the gateway."""
        if self._first_push is None:
            self._first_push = now

    def review(self, groups: Iterable[Group], now: float) -> list[Change]:
        """What to delete of ``groups``. Says once that another worker pushes to our group.

        They are looked at one by one: a fleet's groups take more memory than the pusher has.
        """
        changes: list[Change] = []
        for group in groups:
            if group.labels == self._labels:
                self._look_for_a_namesake(group, now)
            elif (expiry := self._expiry(group)) is not None and (key := _key(group.labels)):
                changes += self._found(key, expiry, now)
        return changes

    def _expiry(self, group: Group) -> float | None:
        if group.labels.get("job") != self._key.job or "task" not in group.labels:
            return None
        return group.value(_EXPIRY)

    def _look_for_a_namesake(self, group: Group, now: float) -> None:
        moved = group.push_time != self._seen
        self._seen = group.push_time
        start = group.value(_START)
        if (
            start is None
            or abs(start - self._started_at) < 0.001
            or group.value("celery_worker_up") != 1
        ):
            return
        node = self._labels["instance"]
        remedy = "give each worker a name of its own: celery worker -n NAME@%h"
        if self._first_push is None:
            if now - group.push_time < 2 * self._interval:
                self._once.say(
                    ("namesake at start",),
                    f"a worker {node!r} that started at {_clock(start)} pushed"
                    f" {max(0.0, now - group.push_time):.0f} s ago and said that it was up. If it"
                    " was killed with its pusher and this worker takes its place, all is well; if"
                    f" both run, they overwrite each other's totals: {remedy}",
                )
        elif moved and now - self._first_push > _SETTLED:
            self._once.say(
                ("namesake",),
                f"another worker {node!r}, started at {_clock(start)}, pushes to the group"
                f" {self._key} too: the two overwrite each other's totals; {remedy}",
            )


def _key(labels: dict[str, str]) -> GroupingKey | None:
    others = {name: value for name, value in labels.items() if name != "job"}
    try:
        return GroupingKey(labels["job"], others)
    except InvalidGroupingKeyError:
        return None


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
