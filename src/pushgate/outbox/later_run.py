"""Which of two reports about a job's runs is the later one: part of the replay rule. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.health import ENDS, run_info
from ..jobs.vocabulary import (
    COMPLETION,
    FAILURE,
    RETRY,
    RUN_INFO,
    RUN_SUCCESS,
    SKIPPED,
    START,
    SUCCESS,
    UPSTREAM_FAILED,
)
from ..protocol.timestamps import METRIC_PREFIX, TIME_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.families import Family
    from ..protocol.groups import Group

_KINDS = (SUCCESS, FAILURE, SKIPPED, UPSTREAM_FAILED, RETRY)
_SAME = 0.001  # seconds: databases and texts keep microseconds at best


def newer_families(
    families: Iterable[Family], group: Group | None, *, run_started_at: float | None = None
) -> list[Family]:
    """The families of one run that say something newer than ``group`` does.

    For an outcome that several processes tell, one of them maybe late. ``group`` is what the
    gateway holds, None where it holds nothing. Families other than ``batch_job_*`` are all
    returned.

    ``run_started_at``, in Unix seconds, is for a teller that knows the run's start earlier, and its
    end later, than the job's own process did, as Airflow's database does (14 s were seen). Then
    nothing is newer where the group has an end of the same kind that is not older than this one, or
    that came after a start between ``run_started_at`` and that end.
    """
    families = list(families)
    if group is None:
        return families
    mine = {
        family.name: family.samples[0].value
        for family in families
        if family.name.endswith(TIME_SUFFIX)
    }
    theirs = {name: value for name in (START, *ENDS) if (value := group.value(name)) is not None}
    if run_started_at is not None and _shows_run(group, mine, run_started_at):
        return []
    is_run_newer = is_later_run(theirs, mine)
    return [
        family
        for family in families
        if not family.name.startswith(METRIC_PREFIX)
        or (
            mine[family.name] > (group.value(family.name) or 0.0) + _SAME
            if family.name in mine
            else not is_run_newer and _differs(family, group)
        )
    ]


def _shows_run(group: Group, mine: Mapping[str, float], run_started_at: float) -> bool:
    """Whether ``group`` has the end of the run whose times are ``mine``."""
    kind = next((name for name in _KINDS if name in mine), None)
    end = group.value(kind) if kind else None
    if kind is None or end is None:
        return False
    is_verdict = kind in (SUCCESS, FAILURE)
    if is_verdict and group.value(RUN_SUCCESS) != (kind == SUCCESS):
        completed = group.value(COMPLETION) or 0.0
        if completed <= mine[kind] + _SAME:  # only a later run may have ended otherwise
            return False
    if end >= mine[kind] - _SAME:
        return True
    start = group.value(START)
    return start is not None and run_started_at - _SAME <= start <= end + _SAME


def is_later_run(theirs: Mapping[str, float], mine: Mapping[str, float]) -> bool | None:
    """Whether the last end in ``theirs``, or the start if ``mine`` has no end, is the later one.

    None where one of the two says nothing.
    """
    names = (START,) if mine.keys().isdisjoint(ENDS) else ENDS
    ours = [mine[name] for name in names if name in mine]
    others = [theirs[name] for name in names if name in theirs]
    return max(others) > max(ours) + _SAME if ours and others else None


def _differs(family: Family, group: Group) -> bool:
    if family.name == RUN_INFO:  # a teller that does not know why this run failed adds nothing
        mine, theirs = family.samples[0].labels, run_info(group)
        if mine.keys() < theirs.keys() and mine.get("run_id") == theirs.get("run_id"):
            return False
    return any(group.value(s.name, **s.labels) != s.value for s in family.samples)
