"""The verdicts of ``jobs/health.py`` in PromQL.

Each function returns an expression: an instant vector with the labels of the group. All families of
a group have the same labels, so they match without ``on``, whatever labels a group has. Families
with labels of their own (``mode``, ``op``) are not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.health import (
    CLOCK_TOLERANCE,
    ENDS,
    ENDS_MISSING_DURATIONS,
    ENDS_MISSING_INTERVALS,
    ENDS_MISSING_LEAST,
    EXACT_GRACE_MOST,
    FAILS_OFTEN_LEAST,
    FAILS_OFTEN_SHARE,
    INTERVAL_GRACE_LEAST,
    INTERVAL_GRACE_SHARE,
    STUCK_AFTER_DURATIONS,
    STUCK_AFTER_LEAST,
    STUCK_AFTER_UNKNOWN,
    VANISHED_SHOWN,
)
from ..jobs.vocabulary import (
    COMPLETION,
    DEADLINE_MISSED,
    DURATION,
    EXPECTED_INTERVAL,
    FAILURE,
    NEXT_RUN,
    PAUSED_UNTIL,
    RETRY,
    RUN_SUCCESS,
    SKIPPED,
    START,
    SUCCESS,
    UPSTREAM_FAILED,
    VANISHED,
)
from .series_selector import number

if TYPE_CHECKING:
    from .series_selector import Series

_DEADLINE_SECONDS = 3600  # for how long a run that was late is shown after its end
# How long ago a job of which no run ever ended must have been started before: with a schedule that
# starts often enough, and with any other.
_NEVER_ENDED, _NEVER_ENDED_UNSCHEDULED = "2h", "1d"
_INTERVALS_WINDOW = "1d"
_RATIO_WINDOW = "1h"
# Looked at one by one: a window of 30 days would read all samples of it at each evaluation.
_SUCCEEDED_AGO = ("1h", "6h", "1d", "3d", "7d", "14d", "30d")


def last_reported(series: Series) -> str:
    """When anything was last reported of the job, in Unix seconds."""
    return series.highest(START, *ENDS)


def next_due(series: Series) -> str:
    """When the next run is expected, in Unix seconds. A run that was skipped was on time."""
    begun = series.highest(START, SKIPPED, UPSTREAM_FAILED)
    return f"{series.of(NEXT_RUN)} > {begun}\n  or {begun} + {series.of(EXPECTED_INTERVAL)}"


def overdue(series: Series, share: float = INTERVAL_GRACE_SHARE) -> str:
    """Seconds since a run last started, where the next one should have started by now.

    ``share`` of its interval it may be late. While a run is going on, nothing is overdue.
    """
    begun = series.highest(START, SKIPPED, UPSTREAM_FAILED)
    interval, exact = series.of(EXPECTED_INTERVAL), f"{series.of(NEXT_RUN)} > {begun}"
    grace = f"clamp_min({number(share)} * {interval}, {number(INTERVAL_GRACE_LEAST)})"
    most = number(EXACT_GRACE_MOST)
    return (
        f"(\n  time() - {begun}\n    > {interval} + {grace}\n    unless {exact}\n"
        f"  or time() - {begun}\n    and time() - ({exact}) > clamp_max({grace}, {most})\n)\n"
        f"unless (\n  {_indented(running(series))}\n)"
    )


def paused(series: Series) -> str:
    """Until when nobody is to be alarmed by the job, in Unix seconds, where it is paused now."""
    return f"{series.of(PAUSED_UNTIL)} > time()"


def running(series: Series) -> str:
    """When the current run started, in Unix seconds."""
    return _last(series, START, (COMPLETION, ">="), (RETRY, ">="))


def retrying(series: Series) -> str:
    """When a try failed whose next try has not started, in Unix seconds."""
    return _last(series, RETRY, (START, ">"), (COMPLETION, ">="))


def skipped(series: Series) -> str:
    """When a run was skipped, in Unix seconds, where that is the last thing that happened."""
    return _last(series, SKIPPED, (START, ">"), (COMPLETION, ">"), (UPSTREAM_FAILED, ">"))


def upstream_failed(series: Series) -> str:
    """When a run was not started as its upstream had failed, where nothing happened since."""
    return _last(series, UPSTREAM_FAILED, (START, ">"), (COMPLETION, ">"), (SKIPPED, ">="))


def _last(series: Series, name: str, *others: tuple[str, str]) -> str:
    """The metric ``name``, unless one of the others compares like this with it."""
    time = series.of(name)
    return time + "".join(
        f"\n  unless {series.of(other)} {operator} {time}" for other, operator in others
    )


def stuck(series: Series, durations: float = STUCK_AFTER_DURATIONS) -> str:
    """Seconds since a run started that takes so many times as long as the last one."""
    start = series.of(START)
    duration = series.of(DURATION)
    known = f"clamp_min({number(durations)} * {duration}, {number(STUCK_AFTER_LEAST)})"
    unknown = f"0 * {start} + {number(STUCK_AFTER_UNKNOWN)}"
    return f"time() - (\n  {_indented(running(series))}\n)\n  > ({known} or {unknown})"


def ends_missing(series: Series, after: float = ENDS_MISSING_INTERVALS) -> str:
    """For how many seconds runs have started and none has reported an end, where that is too long.

    That is ``after`` so many intervals.

    A start tells the interval until the next one. So the longest interval of a day counts, in case
    the last start came after a weekend. Other than the numbers that the gateway holds, series tell
    also that a job keeps starting of which no run ever ended.
    """
    start = series.of(START)
    ends = series.highest(*ENDS)
    interval = series.over("max_over_time", EXPECTED_INTERVAL, _INTERVALS_WINDOW)
    allowed = f"clamp_min({number(after)} * {interval}, {number(ENDS_MISSING_LEAST)})"
    before, long_before = (
        series.of(START, ago=ago) for ago in (_NEVER_ENDED, _NEVER_ENDED_UNSCHEDULED)
    )
    durations = f"{number(ENDS_MISSING_DURATIONS)} * {series.of(DURATION)}"
    return (
        f"(\n  {start} - {ends} > {allowed}\n"
        f"  unless {start} - {ends} <= {durations}\n)\n"
        f"or (\n  ({start} - {before} > {allowed} or {start} - {long_before} > 0)\n"
        f"  unless {ends}\n)"
    )


def failed(series: Series) -> str:
    """Seconds since the job failed, where the last run that ended failed."""
    failure = series.of(FAILURE)
    return f"time() - {failure}\n  and {series.of(RUN_SUCCESS)} == 0"


def fails_often(series: Series, share: float = FAILS_OFTEN_SHARE) -> str:
    """The share of an hour's runs that failed, where that is above ``share`` and others succeed.

    Few runs that fail don't count: of those of a rare job, ``failed`` tells each.
    """
    failures = series.over("changes", FAILURE, _RATIO_WINDOW)
    successes = series.over("changes", SUCCESS, _RATIO_WINDOW)
    return (
        f"{failures}\n  / ({failures} + ({successes} > 0)) > {number(share)}\n"
        f"  and {failures} >= {number(FAILS_OFTEN_LEAST)}"
    )


def never_succeeded(series: Series) -> str:
    """Seconds since the job last failed, where it has not succeeded within 30 days.

    Its success of before may be forgotten, where the gateway was wiped or restarted.
    """
    failure = series.of(FAILURE)
    before = "".join(f"\n  unless {series.at(SUCCESS, ago)}" for ago in _SUCCEEDED_AGO)
    return f"time() - {failure}\n  unless {series.of(SUCCESS)}{before}"


def deadline_missed(series: Series) -> str:
    """Seconds since a run missed its deadline: until a run has ended, and for an hour at least."""
    missed = series.of(DEADLINE_MISSED)
    completion = series.of(COMPLETION)
    return (
        f"time() - (\n  {missed} > time() - {_DEADLINE_SECONDS}\n"
        f"  or ({missed} unless {completion} >= {missed})\n)"
    )


def vanished(series: Series, shown: float = VANISHED_SHOWN) -> str:
    """Seconds since it was noticed that a run had vanished, for ``shown`` seconds."""
    return f"time() - {series.of(VANISHED)} < {number(shown)}"


def clock_ahead(series: Series, tolerance: float = CLOCK_TOLERANCE) -> str:
    """By how many seconds the clock of the job's host is ahead of the gateway's."""
    return f"{last_reported(series)} - ({series.of('push_time_seconds')} > 0) > {number(tolerance)}"


def _indented(expression: str) -> str:
    return expression.replace("\n", "\n  ")
