"""What the other groups at the gateway tell: a namesake of this worker, and groups to delete.

The groups that the gateway holds enter; lines for a person leave, and DELETEs of groups of runs
whose lifetime is over, which a worker that is gone has left behind.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import Change, GroupingKey, InvalidGroupingKeyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pushgate import Group
    from pushgate_celery._once import Once

__all__ = ("Neighbours",)

_START = "celery_worker_start_timestamp_seconds"
_EXPIRY = "batch_job_group_expiry_timestamp_seconds"
_MARGIN = 60.0  # seconds: the worker whose run it was deletes the group first, if it still can
_SETTLED = 60.0  # seconds after the first push, from which on the group is ours or somebody else's


class Neighbours:
    """Looks at the gateway for the worker of ``key``, which started at ``started_at``."""

    def __init__(self, key: GroupingKey, started_at: float, interval: float, once: Once) -> None:
        self._key = key
        self._labels = key.labels
        self._started_at = started_at
        self._interval = interval
        self._once = once
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
        changes = []
        for group in groups:
            if group.labels == self._labels:
                self._look_for_a_namesake(group, now)
            elif self._is_expired(group, now) and (key := _key(group.labels)):
                changes.append(Change("DELETE", key))
        return changes

    def _is_expired(self, group: Group, now: float) -> bool:
        if group.labels.get("job") != self._key.job or "task" not in group.labels:
            return False
        expiry = group.value(_EXPIRY)
        return expiry is not None and expiry + _MARGIN < now

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
