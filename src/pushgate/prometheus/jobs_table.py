"""The dashboard's table of all jobs, with a name, a state and an age for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import vocabulary
from ..jobs.health import ENDS
from . import group_queries, queries
from .panels import mapped
from .tables import Column, LabelColumn, table

if TYPE_CHECKING:
    from .panels import Panel
    from .series_selector import Series

VARIABLES = ("job", "dag_id", "task_id", "task", "instance")
"""The labels of the adapters' groups, which the dashboard has a variable for."""
_STATES = {  # the worst first, as in `pushgate status`
    0: ("failed", "red"),
    1: ("stuck", "red"),
    2: ("dying", "red"),
    3: ("overdue", "red"),
    4: ("fails often", "orange"),
    5: ("lost", "orange"),
    6: ("push refused", "orange"),
    7: ("vanished", "orange"),
    8: ("late", "orange"),
    9: ("clock ahead", "orange"),
    10: ("forgotten", "orange"),
    11: ("retrying", "blue"),
    12: ("running", "blue"),
    13: ("upstream failed", "transparent"),
    14: ("skipped", "transparent"),
    15: ("ok", "transparent"),
    16: ("paused", "#6e7077"),
}
_WEEK = "7d:10m"  # a subquery: a week's raw samples would be read otherwise
VIEW = "/d/pushgate?" + "&".join(f"var-{n}=${{__data.fields.{n}:percentencode}}" for n in VARIABLES)


def jobs_table(series: Series) -> Panel:
    """All jobs, the worst first."""
    # The week has jobs, too, that the gateway no longer holds.
    share = series.over("avg_over_time", vocabulary.RUN_SUCCESS, _WEEK)
    columns = (
        Column("State", _state(series), "none", 130, mapped(_STATES), "color-background"),
        _of_every_job(series, "Since", f"1000 * ({_since(series)})", "dateTimeFromNow", 130),
        _of_every_job(
            series, "Last ok", f"1000 * {series.of(vocabulary.SUCCESS)}", "dateTimeFromNow", 130
        ),
        _of_every_job(
            series,
            "Ok in 7 days",
            f"{share} and {queries.last_reported(series)}",
            "percentunit",
            110,
        ),
        _of_every_job(series, "Took", f"1 * {series.of(vocabulary.DURATION)}", "s", 100),
        _of_every_job(
            series, "Next run", f"1000 * ({queries.next_due(series)})", "dateTimeFromNow", 130
        ),
        Column("Info", _info(series)),
    )
    return table(
        "Jobs, the worst first",
        columns,
        (
            LabelColumn("Job", link=VIEW, link_title="This job alone"),
            LabelColumn("Why", 150),
            LabelColumn("Host", 140),
            LabelColumn("Log", 60, "${__value.raw}", "The run's log", "log"),
        ),
        "State and order are those of 'pushgate status'. Since: when the state began; of a job that"
        " fails, its first failure after the last success, at most 7 days ago. Ok in 7 days: the"
        " share of that time in which the last run had succeeded. Why, Host and Log are of the last"
        " run that ended. Forgotten: nobody pushes any more. Lost: by the gateway, which started"
        " within an hour; a job is back with its next run.",
        order=(
            *("State", "Job", "Since", "Last ok", "Ok in 7 days", "Took", "Next run"),
            *("Why", "Host", "Log"),
        ),
        hidden=("Info", *VARIABLES),
        sort_by={"State": False, "Since": True},
    )


def _state(series: Series) -> str:
    reported = queries.last_reported(series)
    states = (
        (16, queries.paused(series)),
        (10, group_queries.stale(series)),
        (0, queries.failed(series)),
        (1, queries.stuck(series)),
        (2, queries.ends_missing(series)),
        (3, queries.overdue(series)),
        (4, queries.fails_often(series)),
        (6, group_queries.push_failing(series)),
        (7, queries.vanished(series)),
        (8, queries.deadline_missed(series)),
        (9, queries.clock_ahead(series)),
        (11, queries.retrying(series)),
        (12, queries.running(series)),
        (13, queries.upstream_failed(series)),
        (14, queries.skipped(series)),
        (15, f"{series.of(vocabulary.RUN_SUCCESS)} == 1"),
    )
    of_any = "\nor ".join(f"0 * ({query}) + {code}" for code, query in states)
    lost = f"0 * ({_lost_jobs(series)}) + 5"
    return f"(\n{of_any}\n) and {reported}\nor {lost}\nor NaN * {reported}"


def _lost_jobs(series: Series) -> str:
    """The jobs that a gateway held before its start within an hour, and lacks now."""
    before = " or ".join(series.at(vocabulary.START, ago) for ago in ("1h", "1d"))
    return f"{group_queries.lost(series)}\n  and ({before})"


def _shown(series: Series) -> str:
    """0 for each job that has a row."""
    return f"(0 * {queries.last_reported(series)} or 0 * ({_lost_jobs(series)}))"


def _since(series: Series) -> str:
    """When the state began, in Unix seconds."""
    failure = series.of(vocabulary.FAILURE)
    success = series._replace(modifier=" @ end()").of(vocabulary.SUCCESS)
    first = f"min_over_time(({failure} > {success})[{_WEEK}])"
    ever = f"min_over_time({failure}[{_WEEK}]) unless {series.of(vocabulary.SUCCESS)}"
    reported = queries.last_reported(series)
    found = (
        f"({first} or {ever}) and ({queries.failed(series)})",
        f"{series.highest(*ENDS)} and ({queries.ends_missing(series)})",
        f"({queries.next_due(series)}) and ({queries.overdue(series)})",
        f"time() - ({queries.vanished(series)})",
        f"time() - ({queries.deadline_missed(series)})",
    )
    since_bad = "\nor ".join(found)
    return f"(\n{since_bad}\n) and {reported}\nor {reported}"


def _info(series: Series) -> str:
    """A row for each job with its name and, as labels, where its last run ended and why."""
    info = series.of(vocabulary.RUN_INFO)
    for column, label in (("Why", "exception"), ("Host", "host"), ("Log", "url")):
        info = f'label_replace({info}, "{column}", "$1", "{label}", "(.*)")'
    info = f"max without ({', '.join(vocabulary.RUN_INFO_LABELS)}) ({info})"
    reported = _shown(series)
    columns = "ignoring (Why, Host, Log)"
    return named(f"{info} and {columns} {reported} or {columns} {reported}")


def named(query: str) -> str:
    """``query`` with a label Job: the values of the adapters' labels, with one blank between."""
    labels = ", ".join(f'"{name}"' for name in VARIABLES)
    joined = f'label_join({query}, "Job", " ", {labels})'
    joined = f'label_replace({joined}, "Job", "$1 $2", "Job", "(.*?)  +(.*)")'
    return f'label_replace({joined}, "Job", "$1", "Job", "(.*?) *")'


def _of_every_job(
    series: Series, title: str, query: str, unit: str = "none", width: int = 0
) -> Column:
    """A column that is NaN for a job that ``query`` has no value for."""
    return Column(title, f"{query} or NaN * {_shown(series)}", unit, width)
