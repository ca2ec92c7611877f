"""The verdicts of :mod:`pushgate.jobs.health`, in PromQL.

Enters: which series are meant. Leaves: expressions, each an instant vector with the labels of the
group. All families of a group have the same labels, so they match without ``on``, whatever labels a
group has; families with labels of their own (``mode``, ``op``) are not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..jobs.health import (
    INTERVAL_GRACE_LEAST,
    INTERVAL_GRACE_SHARE,
    STALE_AFTER,
    STALE_INTERVALS,
    STUCK_AFTER_DURATIONS,
    STUCK_AFTER_LEAST,
    STUCK_AFTER_UNKNOWN,
)
from ..jobs.vocabulary import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = (
    "Series",
    "deadline_missed",
    "failed",
    "last_heard",
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

_DEADLINE_SECONDS = 3600  # a run that was late, and has ended, is shown for so long
_VANISHED_WINDOW = "1d"
_PUSHED = 'origin!="job"'  # own metrics: a job that has none to tell this time pushes none


class Series(NamedTuple):
    """Which series: ``matchers`` as PromQL has them between braces, such as ``job="backup"``.

    With a ``window``, such as ``10m``, a series is there for so long after its last sample: one
    scrape that fails makes all series of a gateway vanish, and alerts on them would end and begin
    anew.
    """

    matchers: str = ""
    window: str = ""

    def of(self, name: str, *matchers: str) -> str:
        """The series of a metric, with further matchers."""
        return self._held(name + self._braces(*matchers))

    def job(self, name: str) -> str:
        """The series of a metric of the vocabulary, which is named without its prefix."""
        return self.of(PREFIX + name)

    def latest(self, *names: str) -> str:
        """The highest of several metrics of the vocabulary, for groups that have any of them."""
        return self.highest([PREFIX + name for name in names])

    def highest(self, names: Sequence[str], *matchers: str) -> str:
        """The highest of several metrics, with further matchers."""
        names_match = f'__name__=~"{"|".join(names)}"'
        return f"max without () ({self._held(self._braces(names_match, *matchers))})"

    def _held(self, selector: str) -> str:
        return f"last_over_time({selector}[{self.window}])" if self.window else selector

    def _braces(self, *matchers: str) -> str:
        inner = ",".join(filter(None, (*matchers, self.matchers)))
        return f"{{{inner}}}" if inner else ""


def last_heard(series: Series) -> str:
    """When the job last gave a sign of any kind, in Unix seconds."""
    kinds = ("start", "completion", "skipped", "retry")
    return series.latest(*(f"last_{kind}_timestamp_seconds" for kind in kinds))


def next_due(series: Series) -> str:
    """When the next run is expected, in Unix seconds. One that was skipped was on time, too."""
    begun = series.latest("last_start_timestamp_seconds", "last_skipped_timestamp_seconds")
    return f"{begun} + {series.job('expected_interval_seconds')}"


def overdue(series: Series) -> str:
    """Seconds since a run last began, where the next one should have begun by now."""
    begun = series.latest("last_start_timestamp_seconds", "last_skipped_timestamp_seconds")
    interval = series.job("expected_interval_seconds")
    grace = f"clamp_min({INTERVAL_GRACE_SHARE:g} * {interval}, {INTERVAL_GRACE_LEAST:g})"
    return f"time() - {begun}\n  > {interval} + {grace}"


def running(series: Series) -> str:
    """When the run began that is going on, in Unix seconds."""
    start = series.job("last_start_timestamp_seconds")
    completion = series.job("last_completion_timestamp_seconds")
    retry = series.job("last_retry_timestamp_seconds")
    return f"{start}\n  unless {completion} >= {start}\n  unless {retry} >= {start}"


def retrying(series: Series) -> str:
    """When the try failed that will be tried again and has not been yet, in Unix seconds."""
    retry = series.job("last_retry_timestamp_seconds")
    start = series.job("last_start_timestamp_seconds")
    completion = series.job("last_completion_timestamp_seconds")
    return f"{retry}\n  unless {start} > {retry}\n  unless {completion} >= {retry}"


def skipped(series: Series) -> str:
    """When the job was skipped, in Unix seconds, where that is the last that happened to it."""
    skip = series.job("last_skipped_timestamp_seconds")
    start = series.job("last_start_timestamp_seconds")
    completion = series.job("last_completion_timestamp_seconds")
    return f"{skip}\n  unless {start} > {skip}\n  unless {completion} > {skip}"


def stuck(series: Series) -> str:
    """Seconds since a run began that goes on for too long."""
    start = series.job("last_start_timestamp_seconds")
    duration = series.job("last_duration_seconds")
    known = f"clamp_min({STUCK_AFTER_DURATIONS:g} * {duration}, {STUCK_AFTER_LEAST:g})"
    unknown = f"0 * {start} + {STUCK_AFTER_UNKNOWN:g}"
    return f"time() - (\n  {_indented(running(series))}\n)\n  > ({known} or {unknown})"


def failed(series: Series) -> str:
    """Seconds since the job failed, where its last run that ended did."""
    failure = series.job("last_failure_timestamp_seconds")
    return f"time() - {failure}\n  and {series.job('last_run_success')} == 0"


def never_succeeded(series: Series) -> str:
    """Seconds since the job last failed, where it never succeeded."""
    failure = series.job("last_failure_timestamp_seconds")
    return f"time() - {failure}\n  unless {series.job('last_success_timestamp_seconds')}"


def deadline_missed(series: Series) -> str:
    """Seconds since a run missed its deadline, until one has ended, and for an hour in any case."""
    missed = series.job("last_deadline_missed_timestamp_seconds")
    completion = series.job("last_completion_timestamp_seconds")
    return (
        f"time() - (\n  {missed} > time() - {_DEADLINE_SECONDS}\n"
        f"  or ({missed} unless {completion} >= {missed})\n)"
    )


def vanished(series: Series) -> str:
    """How many runs more are known to have vanished than a day ago."""
    count = series.job("vanished_runs")
    least = series._replace(window="").job("vanished_runs")
    return f"{count} - min_over_time({least}[{_VANISHED_WINDOW}]) > 0"


def push_failing(series: Series) -> str:
    """Seconds since the gateway refused the group's last push."""
    failure, push = series.of("push_failure_time_seconds"), series.of("push_time_seconds")
    return f"time() - ({failure} > {push})"


def stale(series: Series) -> str:
    """Seconds since the last push, refused or not, to a group that nobody pushes to any more."""
    push = series.highest(("push_time_seconds", "push_failure_time_seconds"), _PUSHED)
    interval = series.job("expected_interval_seconds")
    expiry = series.job("group_expiry_timestamp_seconds")
    return (
        f"time() - {push} > {STALE_AFTER:g}\n"
        f"  unless time() - {push} <= {STALE_INTERVALS:g} * {interval}\n"
        f"  unless {expiry} > time()"
    )


def _indented(expression: str) -> str:
    return expression.replace("\n", "\n  ")
