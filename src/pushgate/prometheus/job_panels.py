"""The dashboard's panels on jobs: how each is doing, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import vocabulary
from . import celery_alerts, group_queries, queries
from .jobs_table import VARIABLES, VIEW, jobs_table, named
from .panels import stat, state_timeline, time_series
from .tables import Column, LabelColumn, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .panels import Panel
    from .series_selector import Series

LEGEND = " ".join(f"{{{{{name}}}}}" for name in VARIABLES)

_RED_ABOVE_0 = ((0, "green"), (1, "red"))
_ENDED = {0: ("failed", "red"), 1: ("succeeded", "green")}


def job_stats(series: Series) -> Iterator[Panel]:
    """Numbers of jobs by state."""
    dying = queries.ends_missing(series)
    for title, query, steps, description in (
        ("Jobs", queries.last_reported(series), ((0, "text"),), "Groups that hold an outcome."),
        ("Failed", queries.failed(series), _RED_ABOVE_0, "The last run that ended failed."),
        ("Stuck", queries.stuck(series), _RED_ABOVE_0, "A run takes much longer than the last."),
        ("Dying", dying, _RED_ABOVE_0, "Runs start, and none reports its end."),
        ("Overdue", queries.overdue(series), _RED_ABOVE_0, "A run is missing, by the schedule."),
        ("Running", queries.running(series), ((0, "text"), (1, "blue")), "A run goes on."),
        ("Paused", queries.paused(series), ((0, "text"),), "Alerts on these jobs are muted."),
    ):
        yield stat(title, _count(query, series), description, steps=steps)


def job_panels(series: Series) -> Iterator[Panel]:
    """The table of all jobs, and what has become of them."""
    yield jobs_table(series)
    yield _by_outcome(series)
    yield _missing(series)
    yield _history(series)
    duration = vocabulary.DURATION
    yield time_series(
        "Duration of the last run",
        {LEGEND: highest(series, duration)},
        "s",
        "How long the last run that ended took; the 15 jobs with the longest.",
    )
    yield _alerts(series)


def _count(query: str, series: Series) -> str:
    """How many; nothing where there are no jobs at all, so that no data is no green 0."""
    return f"count({query}) or 0 * count({queries.last_reported(series)})"


def highest(series: Series, name: str) -> str:
    """The 15 series of a metric that are the highest at the end of the time shown."""
    at_the_end = series._replace(modifier=" @ end()").of(name)
    return f"{series.of(name)} and topk(15, {at_the_end})"


def _by_outcome(series: Series) -> Panel:
    # Not by state: over a day, that would take seconds for some hundred jobs.
    last = series.of(vocabulary.RUN_SUCCESS)
    return time_series(
        "Jobs by their last outcome",
        {"failed": f"count({last} == 0)", "succeeded": f"count({last} == 1)"},
        "none",
        "How many jobs' last run had failed, and succeeded. A drop of both is a gateway that was"
        " not scraped, or that has forgotten its groups.",
        colors={"failed": "red", "succeeded": "green"},
        stacked=True,
    )


def _alerts(series: Series) -> Panel:
    firing = series.of("ALERTS", 'alertstate="firing"')
    return time_series(
        "Alerts",
        {"{{alertname}}": f"count by (alertname) ({firing})"},
        "none",
        "How many alerts of 'pushgate rules' fire, where Prometheus has these rules.",
        stacked=True,
    )


def _missing(series: Series) -> Panel:
    kinds = {
        "never succeeded": queries.never_succeeded(series),
        "vanished": queries.vanished(series),
        "missed its deadline": queries.deadline_missed(series),
        "lost by the gateway": f"time() - ({group_queries.lost(series)})",
        "silent worker": celery_alerts.silent(series, celery_alerts.SILENT_AFTER),
    }
    found = "\nor ".join(
        f'label_replace({query}, "What", "{what}", "job", ".*")' for what, query in kinds.items()
    )
    return table(
        "Missing outcomes",
        (Column("When", f"1000 * (time() - ({named(f'({found})')}))", "dateTimeFromNow", 140),),
        (LabelColumn("What", 180), LabelColumn("Job", link=VIEW, link_title="This job alone")),
        "Jobs that never succeeded, runs that vanished or missed their deadline, groups that the"
        " gateway lost with its start within an hour, and Celery workers that should push and do"
        " not.",
        order=("What", "Job", "When"),
        hidden=VARIABLES,
        sort_by={"What": False, "When": True},
        width=12,
        height=9,
    )


def _history(series: Series) -> Panel:
    run_success = series.of(vocabulary.RUN_SUCCESS)
    share = series.over("avg_over_time", vocabulary.RUN_SUCCESS, "$__range:5m", " @ end()")
    return state_timeline(
        "Outcomes of the 20 jobs that failed most",
        f"{run_success} and topk(20, 1 - {share} > 0)",
        LEGEND,
        _ENDED,
        "Of the time shown. Each bar is the outcome of the last run that had ended. With a job"
        " chosen above, its own history.",
    )
