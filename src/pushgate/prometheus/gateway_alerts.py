"""The alerts on the gateway and its groups. Pure data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import health
from . import group_queries, queries
from .alert import AGO, JOB, PERCENT, Alert

if TYPE_CHECKING:
    from .series_selector import Series


def _down(series: Series, _: float) -> str:
    up = series.of_gateway("up")
    return f"{up} == 0 or absent({up})"


def _refused(series: Series, _: float) -> str:
    paused = queries.paused(series)
    return f"{group_queries.push_failing(series)}\n  unless ignoring (origin) {paused}"


GATEWAY_ALERTS = (
    Alert(
        "PushgatewayDown",
        _down,
        "critical",
        "The Pushgateway{{ with $labels.instance }} {{ . }}{{ end }} can't be scraped.",
        "No outcome of any batch job reaches Prometheus; alerts on jobs show the state before,"
        " and end soon.",
        "5m: a restart takes seconds, and loses nothing if the gateway has a file.",
        hold="5m",
    ),
    Alert(
        "GroupsDisappeared",
        group_queries.disappeared,
        "warning",
        "The Pushgateway{{ with $labels.gateway }} {{ . }}{{ end }} has started and lacks groups.",
        f"{PERCENT} of the groups that it held before are gone, and with them their alerts, until"
        " each job runs again. Was it started without --persistence.file, or its file lost?",
        "Of the groups of an hour ago, or of a day ago after a long outage, more than the\n"
        "threshold's share is gone, and the gateway started within an hour. It ends by itself.\n"
        "2m: jobs that run each minute come back at once.",
        hold="2m",
        threshold=0.1,
    ),
    Alert(
        "PushFailing",
        _refused,
        "warning",
        f"The Pushgateway refuses the pushes of {JOB}.",
        f"The last push to this group was refused {AGO} ago: its metrics are old. The"
        " gateway's log and the job's output have the reason; see 'pushgate doctor'.",
        "Unless its job is paused. 5m: a single push of a job that pushes often may be refused.",
        hold="5m",
    ),
    Alert(
        "GroupStale",
        group_queries.stale,
        "info",
        f"Nobody pushes to the group {JOB} any more.",
        f"There was no push within {AGO}. If the job is gone, delete its group: 'pushgate prune"
        " --older-than 7d --dry-run' lists all such groups.",
        "7 days (the threshold, in seconds), two intervals of a job with a schedule, also after\n"
        "the end of a pause, and never before the group's expiry.",
        threshold=health.STALE_AFTER,
    ),
)
