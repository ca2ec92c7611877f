"""Which groups nobody pushes to any more, so that they may be deleted. Pure.

A Pushgateway keeps every group until it is deleted: there is no time to live
(https://github.com/prometheus/pushgateway/blob/master/README.md#non-goals).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import health
from .ages import roughly
from .matchers import matches, read_matchers
from .vocabulary import EXPECTED_INTERVAL, GROUP_EXPIRY, START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.groups import Group
    from .matchers import Matchers


class StaleGroup(NamedTuple):
    """A group that may go. ``reason`` is for people: ``not pushed for 9d``.

    ``expired``: its own expiry says so, which needs no confirmation.
    """

    group: Group
    reason: str
    expired: bool = False


def stale_groups(
    groups: Iterable[Group], *, now: float, older_than: float, matchers: Matchers = ()
) -> list[StaleGroup]:
    """The stale ones among ``groups``, the oldest first.

    ``now`` is the time by the gateway's clock in Unix seconds, ``older_than`` an age in seconds.
    Only groups that fulfil all ``matchers`` are returned. The rules:

    1. A group with an expiry (``group_expiry_timestamp_seconds``) is stale after it and not before,
       whatever its age. The job's own metrics, in the group with the same labels and ``origin``, go
       with it.
    2. Any other group is stale when its last push is longer ago than ``older_than``. A refused push
       counts as a push, and so does the end of a pause, for the job's own metrics, too.
    3. The group of a job with a schedule (``expected_interval_seconds``) is stale only when twice
       that interval has passed, too, since its last push and since its last start: after a week, a
       monthly job's outcome stays. The job's own metrics stay as long.
    """
    wanted = read_matchers(matchers)
    known = list(groups)
    by_labels = {frozenset(group.labels.items()): group for group in known}
    stale = []
    for group in known:
        if matches(group.labels, wanted):
            job = by_labels.get(_labels_of_the_job(group), group)
            numbers = {**health.numbers_of(job), **health.numbers_of(group)}
            expiry = numbers.get(GROUP_EXPIRY)
            if expiry is None:
                reason = _unused(group, numbers, now, older_than)
            else:
                reason = f"expired {roughly(now - expiry)} ago" if now >= expiry else ""
            if reason:
                stale.append(StaleGroup(group, reason, expired=expiry is not None))
    return sorted(stale, key=lambda entry: entry.group.touched_at)


def _labels_of_the_job(group: Group) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in group.labels.items() if name != "origin")


def _unused(group: Group, numbers: health.Numbers, now: float, older_than: float) -> str:
    pushed, used = group.touched_at, health.used_at(group, numbers)
    if not pushed or now - used <= older_than:
        return ""
    twice = health.STALE_INTERVALS * numbers.get(EXPECTED_INTERVAL, 0.0)
    if now - max(used, numbers.get(START, 0.0)) <= twice:
        return ""
    age = roughly(now - pushed)
    return (
        f"not pushed for {age}" if group.push_time else f"only refused pushes, the last {age} ago"
    )
