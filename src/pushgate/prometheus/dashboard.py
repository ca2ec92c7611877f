"""The Grafana dashboard: its panels and queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..jobs import vocabulary
from . import group_queries, queries
from .panels import (
    DATA_SOURCE,
    Column,
    layout,
    mapped,
    row,
    stat,
    state_timeline,
    table,
    time_series,
)
from .series_selector import Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .panels import Panel

__all__ = ("dashboard",)

_UID = "pushgate"
_JOBS = f"label_values({vocabulary.START}, job)"
_S = Series('job=~"$job"')
_ENDED = {0: ("failed", "red"), 1: ("succeeded", "green")}
_OUTCOMES = {  # a table that is sorted by them has the worst first
    0: ("failed", "red"),
    1: ("stuck", "red"),
    2: ("ends missing", "red"),
    3: ("retrying", "orange"),
    4: ("running", "blue"),
    5: ("upstream failed", "orange"),
    6: ("skipped", "text"),
    7: ("succeeded", "green"),
}


def dashboard() -> dict[str, Any]:
    """The dashboard's JSON model, for Grafana 9 to 11. It asks for the data source."""
    panels = [*_jobs(), *_commands(), *_tasks(), *_celery(), *_gateway()]
    return {
        "uid": _UID,
        "title": "Batch jobs",
        "description": "How every batch job went, from what pushgate pushes to a Pushgateway.",
        "tags": ["pushgate", "batch"],
        "schemaVersion": 36,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": layout(panels),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "current": {},
            "options": [],
        },
        {
            "name": "job",
            "label": "Job",
            "type": "query",
            "datasource": DATA_SOURCE,
            "definition": _JOBS,
            "query": {"query": _JOBS, "refId": "job"},
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "refresh": 2,
            "sort": 1,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
        },
    ]


def _jobs() -> Iterator[Panel]:
    reported = queries.last_reported(_S)
    outcome = " or ".join(
        (
            f"0 * ({queries.stuck(_S)}) + 1",
            f"0 * ({queries.ends_missing(_S)}) + 2",
            f"0 * ({queries.retrying(_S)}) + 3",
            f"0 * ({queries.running(_S)}) + 4",
            f"0 * ({queries.upstream_failed(_S)}) + 5",
            f"0 * ({queries.skipped(_S)}) + 6",
            f"7 * {_S.of(vocabulary.RUN_SUCCESS)}",
        )
    )
    yield row("Jobs")
    yield stat("Jobs", _count(reported), "Groups that hold a job's outcome.", color="text")
    yield stat("Failed", _count(queries.failed(_S)), "Jobs whose last run failed.")
    yield stat("Overdue", _count(queries.overdue(_S)), "Jobs that have missed a run.")
    yield stat(
        "Stuck",
        _count(f"{queries.stuck(_S)} or {queries.ends_missing(_S)}"),
        "Runs that go on for too long, and jobs whose runs start and never end.",
    )
    yield stat("Running", _count(queries.running(_S)), "Runs that go on.", color="blue")
    yield stat(
        "Pushes refused", _count(group_queries.push_failing(_S)), "Groups that are not updated."
    )
    yield table(
        "Jobs",
        (
            _of_every_job("Outcome", outcome, mappings=mapped(_OUTCOMES)),
            _of_every_job("Last sign", f"1000 * {reported}", "dateTimeFromNow"),
            _of_every_job("Duration", f"1 * {_S.of(vocabulary.DURATION)}", "s"),
            _of_every_job(
                "Last success",
                f"1000 * {_S.of(vocabulary.SUCCESS)}",
                "dateTimeFromNow",
            ),
            _of_every_job("Next run", f"1000 * ({queries.next_due(_S)})", "dateTimeFromNow"),
            _of_every_job(
                "Overdue", f"0 * ({queries.overdue(_S)}) + 1", mappings=mapped({1: ("yes", "red")})
            ),
            _of_every_job(
                "Push refused",
                f"0 * ({group_queries.push_failing(_S)}) + 1 and {reported}",
                mappings=mapped({1: ("yes", "red")}),
            ),
        ),
        sort_by="Outcome",
    )
    yield state_timeline("Outcomes", _S.of(vocabulary.RUN_SUCCESS), _ENDED)
    yield time_series("Duration of the last run", {"": _S.of(vocabulary.DURATION)}, "s")
    yield time_series(
        "Time since the last success",
        {"": f"time() - {_S.of(vocabulary.SUCCESS)}"},
        "s",
    )
    yield time_series(
        "Time since a run vanished", {"": f"time() - {_S.of(vocabulary.VANISHED)}"}, "s"
    )
    yield time_series(
        "Time since a deadline was missed",
        {"": f"time() - {_S.of(vocabulary.DEADLINE_MISSED)}"},
        "s",
    )


def _commands() -> Iterator[Panel]:
    yield row("Commands")
    yield time_series("CPU time of the last run", {"": _S.of(vocabulary.CPU_SECONDS)}, "s")
    yield time_series("Peak memory of the last run", {"": _S.of(vocabulary.MAX_RSS_BYTES)}, "bytes")
    yield time_series("Block operations of the last run", {"": _S.of(vocabulary.IO_BLOCKS)}, "none")
    yield time_series(
        "Context switches of the last run", {"": _S.of(vocabulary.CONTEXT_SWITCHES)}, "none"
    )
    yield table(
        "How the last command ended",
        (
            Column("Exit code", f"1 * {_S.of(vocabulary.EXIT_CODE)}"),
            Column("Signal", f"1 * {_S.of(vocabulary.SIGNAL)}"),
            Column(
                "Timed out",
                # DAGs' runs time out, too, but have no exit code.
                f"1 * {_S.of(vocabulary.TIMED_OUT)} and {_S.of(vocabulary.EXIT_CODE)}",
                mappings=mapped({0: ("no", "text"), 1: ("yes", "red")}),
            ),
        ),
    )


def _tasks() -> Iterator[Panel]:
    yield row("Orchestrated tasks")
    yield time_series("Queue wait of the last run", {"": _S.of(vocabulary.QUEUE_WAIT)}, "s")
    yield time_series("Tries of the last run", {"": _S.of(vocabulary.TRY_NUMBER)}, "none")
    yield time_series(
        "Instances of mapped tasks, by how they ended", {"": _S.of(vocabulary.MAPPED_RUNS)}, "none"
    )
    yield time_series(
        "Longest instance of mapped tasks", {"": _S.of(vocabulary.MAPPED_LONGEST)}, "s"
    )


def _celery() -> Iterator[Panel]:
    yield row("Celery")
    up, crashed = _S.of("celery_worker_up"), _S.of("celery_worker_crashed")
    active, prefetched = _S.of("celery_worker_tasks_active"), "celery_worker_tasks_prefetched"
    oldest = _S.of("celery_worker_oldest_task_start_timestamp_seconds")
    lost = _S.of("celery_worker_children_lost_total")
    dropped = _S.of("pushgate_records_dropped_total")
    yield stat("Workers", _count(f"{up} == 1"), "Workers that run.", color="text")
    yield stat("Crashed", _count(f"{crashed} == 1"), "Workers that ended without shutting down.")
    yield stat("Active", f"sum({active}) or vector(0)", "Tasks that run.", color="text")
    yield stat(
        "Prefetched",
        f"sum({_S.of(prefetched)}) or vector(0)",
        "Tasks that workers have taken and not begun.",
        color="text",
    )
    yield stat(
        "Children lost",
        f"sum(increase({lost}[1d])) or vector(0)",
        "Child processes that died in a task, in a day.",
    )
    yield stat(
        "Uncounted",
        f"sum(increase({dropped}[1d])) or vector(0)",
        "Records that workers could not hand to their pusher, in a day.",
    )
    yield time_series(
        "Tasks that ended, by state",
        {"": _rate("state", "celery_task_finished_total")},
        "ops",
        stacked=True,
    )
    yield time_series(
        "Failures, by task and exception",
        {"": _rate("task, exception", "celery_task_finished_total", 'state="failure"')},
        "ops",
    )
    yield time_series(
        "Retries and redeliveries, by task",
        {
            "{{task}} retried": _rate("task", "celery_task_retried_total"),
            "{{task}} redelivered": _rate("task", "celery_task_redelivered_total"),
        },
        "ops",
    )
    yield time_series(
        "Run time, by task (95%)", {"": _quantile("task", "celery_task_runtime_seconds")}, "s"
    )
    yield time_series(
        "Wait in the queue, by queue (95%)",
        {"": _quantile("queue", "celery_task_queue_wait_seconds")},
        "s",
    )
    yield time_series(
        "From publication to success, by task (95%)",
        {"": _quantile("task", "celery_task_latency_seconds")},
        "s",
    )
    yield time_series("Age of each worker's longest task", {"": f"time() - {oldest}"}, "s")
    yield time_series(
        "Pushes of workers, by result", {"": _rate("result", "pushgate_pushes_total")}, "ops"
    )


def _gateway() -> Iterator[Panel]:
    push, failure = _S.of("push_time_seconds"), _S.of("push_failure_time_seconds")
    yield row("Gateway")
    yield stat("Groups", _count(push), "Groups that the gateway holds.", color="text")
    yield stat("Stale", _count(group_queries.stale(_S)), "Groups that nobody pushes to any more.")
    yield stat("Refused", _count(f"{failure} > {push}"), "Groups whose last push was refused.")
    yield time_series(
        "Time since the last push, the ten oldest", {"": f"topk(10, time() - {push})"}, "s"
    )
    yield time_series(
        "Pushes, by the gateway's answer",
        {
            "{{method}} {{code}}": "sum by (method, code)"
            ' (rate(pushgateway_http_requests_total{handler="push"}[$__rate_interval]))'
        },
        "ops",
    )


def _count(query: str) -> str:
    return f"count({query}) or vector(0)"


def _of_every_job(
    title: str, query: str, unit: str = "none", mappings: tuple[Any, ...] = ()
) -> Column:
    """A column that is NaN for a job that ``query`` has no value for."""
    return Column(title, f"{query} or NaN * {queries.last_reported(_S)}", unit, mappings)


def _rate(labels: str, name: str, *matchers: str) -> str:
    return f"sum by ({labels}) (rate({_S.of(name, *matchers)}[$__rate_interval]))"


def _quantile(label: str, name: str) -> str:
    return f"histogram_quantile(0.95, {_rate(f'{label}, le', f'{name}_bucket')})"
