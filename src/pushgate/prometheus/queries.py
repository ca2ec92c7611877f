"""The verdicts of ``jobs/health.py`` in PromQL.

Each function returns an expression: an instant vector with the labels of the group. All families of
a group have the same labels, so they match without ``on``, whatever labels a group has. Families
with labels of their own (``mode``, ``op``) are not used.
"""

from __future__ import annotations

from typing import NamedTuple

from ..jobs import vocabulary
from ..jobs.health import (
    INTERVAL_GRACE_LEAST,
    INTERVAL_GRACE_SHARE,
    STALE_AFTER,
    STALE_INTERVALS,
    STUCK_AFTER_DURATIONS,
    STUCK_AFTER_LEAST,
    STUCK_AFTER_UNKNOWN,
)

__all__ = (
    "Series",
    "deadline_missed",
    "failed",
    "last_reported",
    "never_succeeded",
    "next_due",
    "overdue",
    "push_failing",
    "retrying",
    "running",
    "skipped",
    "stale",
    "stuck",
    "vanished",
)

_DEADLINE_SECONDS = 3600  # for how long a run that was late is shown after its end
_VANISHED_WINDOW = "1d"
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

    def of(self, name: str, *matchers: str) -> str:
        """The series of a metric, with further matchers."""
        return self._held(name + self._braces(*matchers))

    def highest(self, *names: str, matcher: str = "") -> str:
        """The highest of several metrics, for groups that have any of them."""
        names_match = f'__name__=~"{"|".join(names)}"'
        return f"max without () ({self._held(self._braces(names_match, matcher))})"

    def _held(self, selector: str) -> str:
        return f"last_over_time({selector}[{self.window}])" if self.window else selector

    def _braces(self, *matchers: str) -> str:
        inner = ",".join(filter(None, (*matchers, self.matchers)))
        return f"{{{inner}}}" if inner else ""


def last_reported(series: Series) -> str:
    """When anything was last reported of the job, in Unix seconds."""
    return series.highest(
        vocabulary.START, vocabulary.COMPLETION, vocabulary.SKIPPED, vocabulary.RETRY
    )


def next_due(series: Series) -> str:
    """When the next run is expected, in Unix seconds. A skipped run was on time."""
    begun = series.highest(vocabulary.START, vocabulary.SKIPPED)
    return f"{begun} + {series.of(vocabulary.EXPECTED_INTERVAL)}"


def overdue(series: Series) -> str:
    """Seconds since a run last started, where the next one should have started by now."""
    begun = series.highest(vocabulary.START, vocabulary.SKIPPED)
    interval = series.of(vocabulary.EXPECTED_INTERVAL)
    grace = f"clamp_min({INTERVAL_GRACE_SHARE:g} * {interval}, {INTERVAL_GRACE_LEAST:g})"
    return f"time() - {begun}\n  > {interval} + {grace}"


def running(series: Series) -> str:
    """When the current run started, in Unix seconds."""
    start = series.of(vocabulary.START)
    completion = series.of(vocabulary.COMPLETION)
    retry = series.of(vocabulary.RETRY)
    return f"{start}\n  unless {completion} >= {start}\n  unless {retry} >= {start}"


def retrying(series: Series) -> str:
    """When a try failed whose next try has not started, in Unix seconds."""
    retry = series.of(vocabulary.RETRY)
    start = series.of(vocabulary.START)
    completion = series.of(vocabulary.COMPLETION)
    return f"{retry}\n  unless {start} > {retry}\n  unless {completion} >= {retry}"


def skipped(series: Series) -> str:
    """When a run was skipped, in Unix seconds, where that is the last thing that happened."""
    skip = series.of(vocabulary.SKIPPED)
    start = series.of(vocabulary.START)
    completion = series.of(vocabulary.COMPLETION)
    return f"{skip}\n  unless {start} > {skip}\n  unless {completion} > {skip}"


def stuck(series: Series) -> str:
    """Seconds since a run started that takes too long."""
    start = series.of(vocabulary.START)
    duration = series.of(vocabulary.DURATION)
    known = f"clamp_min({STUCK_AFTER_DURATIONS:g} * {duration}, {STUCK_AFTER_LEAST:g})"
    unknown = f"0 * {start} + {STUCK_AFTER_UNKNOWN:g}"
    return f"time() - (\n  {_indented(running(series))}\n)\n  > ({known} or {unknown})"


def failed(series: Series) -> str:
    """Seconds since the job failed, where the last run that ended failed."""
    failure = series.of(vocabulary.FAILURE)
    return f"time() - {failure}\n  and {series.of(vocabulary.RUN_SUCCESS)} == 0"


def never_succeeded(series: Series) -> str:
    """Seconds since the job last failed, where it never succeeded."""
    failure = series.of(vocabulary.FAILURE)
    return f"time() - {failure}\n  unless {series.of(vocabulary.SUCCESS)}"


def deadline_missed(series: Series) -> str:
    """Seconds since a run missed its deadline: until a run has ended, and for an hour at least."""
    missed = series.of(vocabulary.DEADLINE_MISSED)
    completion = series.of(vocabulary.COMPLETION)
    return (
        f"time() - (\n  {missed} > time() - {_DEADLINE_SECONDS}\n"
        f"  or ({missed} unless {completion} >= {missed})\n)"
    )


def vanished(series: Series) -> str:
    """How many runs vanished since a day ago."""
    count = series.of(vocabulary.VANISHED_RUNS)
    least = series._replace(window="").of(vocabulary.VANISHED_RUNS)
    return f"{count} - min_over_time({least}[{_VANISHED_WINDOW}]) > 0"


def push_failing(series: Series) -> str:
    """Seconds since the gateway refused the group's last push."""
    failure, push = series.of("push_failure_time_seconds"), series.of("push_time_seconds")
    return f"time() - ({failure} > {push})"


def stale(series: Series) -> str:
    """Seconds since the last push, refused or not, to a group that is stale."""
    push = series.highest("push_time_seconds", "push_failure_time_seconds", matcher=_PUSHED)
    interval = series.of(vocabulary.EXPECTED_INTERVAL)
    expiry = series.of(vocabulary.GROUP_EXPIRY)
    return (
        f"time() - {push} > {STALE_AFTER:g}\n"
        f"  unless time() - {push} <= {STALE_INTERVALS:g} * {interval}\n"
        f"  unless {expiry} > time()"
    )


def _indented(expression: str) -> str:
    return expression.replace("\n", "\n  ")
