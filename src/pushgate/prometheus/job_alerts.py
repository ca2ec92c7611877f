"""The alerts on the vocabulary that all adapters share. A job that is paused alarms nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import health
from . import queries
from .alert import AGO, JOB, LAST_RUN, PERCENT, Alert

if TYPE_CHECKING:
    from .series_selector import Series

_ALERTS = (
    Alert(
        "BatchJobMissed",
        queries.overdue,
        "warning",
        f"Batch job {JOB} has missed a run.",
        f"It last started {AGO} ago, longer than its schedule allows. Check that its scheduler"
        " runs; delete the group if the job is gone.",
        "No run goes on, and none started, was skipped or had a failed upstream within 1.5\n"
        "intervals. The threshold is the share of its interval by which a job may be late.\n"
        "5m: after an outage of the gateway, hosts need a moment to deliver what they kept.",
        hold="5m",
        threshold=health.INTERVAL_GRACE_SHARE,
    ),
    Alert(
        "BatchJobFailed",
        lambda series, _: queries.failed(series),
        "warning",
        f"Batch job {JOB} has failed.",
        f"Its last run failed {AGO} ago. This ends with the next success.{LAST_RUN}",
        "The last run that ended failed; the current run changes nothing yet.\n"
        "2m: a task that runs many times a minute fails now and then.",
        hold="2m",
    ),
    Alert(
        "BatchJobFailsOften",
        queries.fails_often,
        "warning",
        f"Batch job {JOB} fails often.",
        f"{PERCENT} of its runs of the last hour failed, and others succeeded.{LAST_RUN}",
        "For a job that fails every second run, which BatchJobFailed hardly sees: three failures\n"
        "in an hour, and more than the threshold's share of its runs.",
        hold="5m",
        threshold=health.FAILS_OFTEN_SHARE,
    ),
    Alert(
        "BatchJobNeverSucceeded",
        lambda series, _: queries.never_succeeded(series),
        "warning",
        f"Batch job {JOB} has never succeeded.",
        f"It failed {AGO} ago, and no run of 30 days has succeeded. Check how it is set up."
        f"{LAST_RUN}",
        "It has failed and not succeeded, also not before the gateway forgot it; the first run\n"
        "has done neither before it ends.\n"
        "1h: BatchJobFailed already tells of the first failure of a new job.",
        hold="1h",
    ),
    Alert(
        "BatchJobStuckRunning",
        queries.stuck,
        "warning",
        f"Batch job {JOB} is stuck, or was killed.",
        f"Its run started {AGO} ago and has not ended, although the run before was much"
        " shorter: it hangs, or it died without a report, for example with its host. Of the run"
        f" before:{LAST_RUN}",
        "A run takes over 1h and 3 times as long as the last, which is the threshold; over 1d\n"
        "where none has ended.\n"
        "5m: as for BatchJobMissed.",
        hold="5m",
        threshold=health.STUCK_AFTER_DURATIONS,
    ),
    Alert(
        "BatchJobEndsMissing",
        queries.ends_missing,
        "warning",
        f"Runs of batch job {JOB} start, and none ends.",
        f"When it last started, no run had reported its end for {AGO}: each is killed with all"
        " that could report it (out of memory?), or can't push its end. Of the last run that did:"
        f"{LAST_RUN}",
        "The last start came over 1.5 intervals (the threshold), and 15m, after the last end of\n"
        "any kind. Or no run ever ended, and a start came 2h after another (1d: without a\n"
        "schedule).\n"
        "15m: the first run after a pause looks the same until it ends.",
        hold="15m",
        threshold=health.ENDS_MISSING_INTERVALS,
    ),
    Alert(
        "BatchJobVanished",
        queries.vanished,
        "warning",
        f"A run of batch job {JOB} has vanished.",
        "It started and never reported its end: it was killed (out of memory?), or its host"
        f" went down. The next run on that host noticed it {AGO} ago.",
        "The next run on the same host reports that the one before vanished; ends after a day\n"
        "(the threshold, in seconds).",
        threshold=health.VANISHED_SHOWN,
    ),
    Alert(
        "BatchJobDeadlineMissed",
        lambda series, _: queries.deadline_missed(series),
        "warning",
        f"Batch job {JOB} has missed its deadline.",
        f"A run had not ended at its deadline {AGO} ago.",
        "Until a run has ended, and for an hour at least: a deadline alert of Airflow, or a run\n"
        "that APScheduler or Dagster could not begin in time.",
    ),
    Alert(
        "BatchJobClockAhead",
        queries.clock_ahead,
        "info",
        f"The clock of a host of batch job {JOB} is ahead.",
        f"It reported a time that is {AGO} later than the gateway's clock. The job will be overdue"
        f" and stuck too late. Set the host's clock.{LAST_RUN}",
        "A start or end is over a minute (the threshold, in seconds) later than the push that\n"
        "told it. A host that is behind can't be told from a push that waited.",
        threshold=health.CLOCK_TOLERANCE,
    ),
)


def _unless_paused(alert: Alert) -> Alert:
    def expression(series: Series, threshold: float) -> str:
        return f"(\n{alert.expression(series, threshold)}\n) unless {queries.paused(series)}"

    return alert._replace(expression=expression)


JOB_ALERTS = tuple(map(_unless_paused, _ALERTS))
