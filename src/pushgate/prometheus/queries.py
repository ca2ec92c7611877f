"""The verdicts of ``jobs/health.py`` in PromQL.

Each function returns an expression: an instant vector with the labels of the group. All families of
a group have the same labels, so they match without ``on``, whatever labels a group has. Families
with labels of their own (``mode``, ``op``) are not used.
"""

from __future__ import annotations

from typing import NamedTuple

from ..jobs.health import (
    ENDS,
    ENDS_MISSING_DURATIONS,
    ENDS_MISSING_INTERVALS,
    ENDS_MISSING_LEAST,
    EXACT_GRACE_MOST,
    INTERVAL_GRACE_LEAST,
    INTERVAL_GRACE_SHARE,
    STALE_AFTER,
    STALE_INTERVALS,
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
    GROUP_EXPIRY,
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

__all__ = (
    "Series",
    "deadline_missed",
    "ends_missing",
    "failed",
    "last_reported",
    "never_succeeded",
    "next_due",
    "overdue",
    "paused",
    "push_failing",
    "retrying",
    "running",
    "skipped",
    "stale",
    "stuck",
    "upstream_failed",
    "vanished",
)

_DEADLINE_SECONDS = 3600  # for how long a run that was late is shown after its end
# How long ago a job of which no run ever ended must have been started before: with a schedule that
# starts often enough, and with any other.
_NEVER_ENDED, _NEVER_ENDED_UNSCHEDULED = "2h", "1d"
_INTERVALS_WINDOW = "1d"
# Not the own metrics of a job, which it may have in one run and not in the next.
_PUSHED = 'origin!="job"'


class Series(NamedTuple):
    """Selects series. ``matchers`` are PromQL's between braces, such as ``job="backup"``.

    With a ``window``, such as ``10m``, a series lives for that time after its last sample: a single
    failed scrape makes all series of a gateway vanish, and alerts on them would end and start
    again.
    """

    matchers: str = ""
    window: str = ""

    def of(self, name: str, *matchers: str, ago: str = "") -> str:
        """The series of a metric, with further matchers, as it is or was so long ``ago``."""
        return self._held(name + self._braces(*matchers), ago)

    def highest(self, *names: str, matcher: str = "") -> str:
        """The highest of several metrics, for groups that have any of them."""
        names_match = f'__name__=~"{"|".join(names)}"'
        return f"max without () ({self._held(self._braces(names_match, matcher))})"

    def _held(self, selector: str, ago: str = "") -> str:
        offset = f" offset {ago}" if ago else ""
        if self.window:
            return f"last_over_time({selector}[{self.window}]{offset})"
        return selector + offset

    def _braces(self, *matchers: str) -> str:
        inner = ",".join(filter(None, (*matchers, self.matchers)))
        return f"{{{inner}}}" if inner else ""


def last_reported(series: Series) -> str:
    """When anything was last reported of the job, in Unix seconds."""
    return series.highest(START, *ENDS)


def next_due(series: Series) -> str:
    """When the next run is expected, in Unix seconds. A run that was skipped was on time."""
    begun = series.highest(START, SKIPPED, UPSTREAM_FAILED)
    return f"{series.of(NEXT_RUN)} > {begun}\n  or {begun} + {series.of(EXPECTED_INTERVAL)}"


def overdue(series: Series) -> str:
    """Seconds since a run last started, where the next one should have started by now."""
    begun = series.highest(START, SKIPPED, UPSTREAM_FAILED)
    interval, exact = series.of(EXPECTED_INTERVAL), f"{series.of(NEXT_RUN)} > {begun}"
    grace = f"clamp_min({INTERVAL_GRACE_SHARE:g} * {interval}, {INTERVAL_GRACE_LEAST:g})"
    return (
        f"time() - {begun}\n  > {interval} + {grace}\n  unless {exact}\n"
        f"or time() - {begun}\n  and time() - ({exact}) > clamp_max({grace}, {EXACT_GRACE_MOST:g})"
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


def stuck(series: Series) -> str:
    """Seconds since a run started that takes too long."""
    start = series.of(START)
    duration = series.of(DURATION)
    known = f"clamp_min({STUCK_AFTER_DURATIONS:g} * {duration}, {STUCK_AFTER_LEAST:g})"
    unknown = f"0 * {start} + {STUCK_AFTER_UNKNOWN:g}"
    return f"time() - (\n  {_indented(running(series))}\n)\n  > ({known} or {unknown})"


def ends_missing(series: Series) -> str:
    """For how many seconds runs have started and none has reported an end, where that is too long.

    A start tells the interval until the next one. So the longest interval of a day counts, in case
    the last start came after a weekend. Other than the numbers that the gateway holds, series tell
    also that a job keeps starting of which no run ever ended.
    """
    start = series.of(START)
    ends = series.highest(*ENDS)
    intervals = series._replace(window="").of(EXPECTED_INTERVAL)
    interval = f"max_over_time({intervals}[{_INTERVALS_WINDOW}])"
    allowed = f"clamp_min({ENDS_MISSING_INTERVALS:g} * {interval}, {ENDS_MISSING_LEAST:g})"
    before, long_before = (
        series.of(START, ago=ago) for ago in (_NEVER_ENDED, _NEVER_ENDED_UNSCHEDULED)
    )
    return (
        f"(\n  {start} - {ends} > {allowed}\n"
        f"  unless {start} - {ends} <= {ENDS_MISSING_DURATIONS:g} * {series.of(DURATION)}\n)\n"
        f"or (\n  ({start} - {before} > {allowed} or {start} - {long_before} > 0)\n"
        f"  unless {ends}\n)"
    )


def failed(series: Series) -> str:
    """Seconds since the job failed, where the last run that ended failed."""
    failure = series.of(FAILURE)
    return f"time() - {failure}\n  and {series.of(RUN_SUCCESS)} == 0"


def never_succeeded(series: Series) -> str:
    """Seconds since the job last failed, where it never succeeded."""
    failure = series.of(FAILURE)
    return f"time() - {failure}\n  unless {series.of(SUCCESS)}"


def deadline_missed(series: Series) -> str:
    """Seconds since a run missed its deadline: until a run has ended, and for an hour at least."""
    missed = series.of(DEADLINE_MISSED)
    completion = series.of(COMPLETION)
    return (
        f"time() - (\n  {missed} > time() - {_DEADLINE_SECONDS}\n"
        f"  or ({missed} unless {completion} >= {missed})\n)"
    )


def vanished(series: Series) -> str:
    """Seconds since it was noticed that a run had vanished, for a day."""
    return f"time() - {series.of(VANISHED)} < {VANISHED_SHOWN:g}"


def push_failing(series: Series) -> str:
    """Seconds since the gateway refused the group's last push."""
    failure, push = series.of("push_failure_time_seconds"), series.of("push_time_seconds")
    return f"time() - ({failure} > {push})"


def stale(series: Series) -> str:
    """Seconds since the last push, refused or not, to a group that is stale."""
    push = series.highest("push_time_seconds", "push_failure_time_seconds", matcher=_PUSHED)
    interval = series.of(EXPECTED_INTERVAL)
    expiry = series.of(GROUP_EXPIRY)
    return (
        f"time() - {push} > {STALE_AFTER:g}\n"
        f"  unless time() - {push} <= {STALE_INTERVALS:g} * {interval}\n"
        f"  unless {expiry} > time()"
    )


def _indented(expression: str) -> str:
    return expression.replace("\n", "\n  ")
