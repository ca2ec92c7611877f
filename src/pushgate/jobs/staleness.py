"""Groups that nobody pushes to any more: the rules, and nothing but the rules.

Enters: what a gateway holds, its time, and an age. Leaves: :class:`StaleGroup` values. Pure. A
Pushgateway keeps every group until somebody deletes it: there is no time to live
(https://github.com/prometheus/pushgateway/blob/master/README.md#non-goals).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import health
from .ages import roughly
from .matchers import matches, read_matchers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.groups import Group
    from .matchers import Matchers

__all__ = ("StaleGroup", "stale_groups")

_START = "batch_job_last_start_timestamp_seconds"
_INTERVAL = "batch_job_expected_interval_seconds"
_EXPIRY = "batch_job_group_expiry_timestamp_seconds"


class StaleGroup(NamedTuple):
    """A group that may go. ``reason`` is for people: ``not pushed for 9d``."""

    group: Group
    reason: str


def stale_groups(
    groups: Iterable[Group], *, now: float, older_than: float, matchers: Matchers = ()
) -> list[StaleGroup]:
    """Those of ``groups`` that nobody needs, the oldest first. Pure.

    ``now`` is by the gateway's clock, in Unix seconds; ``older_than`` in seconds. Of the groups
    that fulfil all ``matchers``, these are stale:

    1. One with a ``batch_job_group_expiry_timestamp_seconds`` is when that has passed, and only
       then, whatever its age: whoever made it said so. The job's own metrics, in the group with the
       same labels and ``origin``, go with it.
    2. Any other is when its last push is longer ago than ``older_than``. A push that was refused
       counts as well: somebody still pushes.
    3. One of a job with a ``batch_job_expected_interval_seconds`` is not before twice that
       interval has passed, too, since its last push and since its last start: a monthly job's
       outcome is not to go after a week. The job's own metrics stay as long.
    """
    wanted = read_matchers(matchers)
    known = list(groups)
    by_labels = {frozenset(group.labels.items()): group for group in known}
    stale = []
    for group in known:
        if matches(group.labels, wanted):
            job = by_labels.get(_labels_of_the_job(group), group)
            expiry = group.value(_EXPIRY)
            expiry = job.value(_EXPIRY) if expiry is None else expiry
            if expiry is not None:
                reason = _expired(expiry, now)
            else:
                schedule = max(_schedule(group), _schedule(job))
                reason = _unused(group, schedule, now, older_than)
            if reason:
                stale.append(StaleGroup(group, reason))
    return sorted(stale, key=lambda entry: _touched(entry.group))


def _schedule(group: Group) -> tuple[float, float]:
    """The interval of the group's job and its last start, 0 where there is none."""
    return group.value(_INTERVAL) or 0.0, group.value(_START) or 0.0


def _labels_of_the_job(group: Group) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in group.labels.items() if name != "origin")


def _touched(group: Group) -> float:
    return max(group.push_time, group.push_failure_time)


def _expired(expiry: float, now: float) -> str:
    return f"expired {roughly(now - expiry)} ago" if now >= expiry else ""


def _unused(group: Group, schedule: tuple[float, float], now: float, older_than: float) -> str:
    interval, start = schedule
    touched = _touched(group)
    if not touched or now - touched <= older_than:
        return ""
    if now - max(touched, start) <= health.STALE_INTERVALS * interval:
        return ""
    age = roughly(now - touched)
    return (
        f"not pushed for {age}" if group.push_time else f"only refused pushes, the last {age} ago"
    )
