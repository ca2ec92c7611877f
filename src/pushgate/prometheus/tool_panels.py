"""The dashboard's panels on commands, orchestrated tasks, Celery and the gateway itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import vocabulary
from . import group_queries
from .job_panels import LEGEND, highest
from .panels import stat, time_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .panels import Panel
    from .series_selector import Series

_RED_ABOVE_0 = ((0, "green"), (1, "red"))
_TEXT = ((0, "text"),)


def gateway_stats(series: Series) -> Iterator[Panel]:
    """Whether the gateway is there, and holds what it held."""
    started = series.of_gateway("process_start_time_seconds")
    push = series.of("push_time_seconds")
    lost = group_queries.disappeared(series, -1)
    yield stat(
        "Gateway",
        f"min({series.of_gateway('up')})",
        "Whether Prometheus can scrape the gateway.",
        texts={0: ("DOWN", "red"), 1: ("up", "green")},
    )
    yield stat(
        "Up for",
        f"time() - max({started})",
        "Since the gateway's start. Without --persistence.file it forgets all groups then.",
        unit="s",
        steps=((0, "orange"), (3600, "text")),
    )
    yield stat("Groups", f"count({push})", "Groups that the gateway holds.", steps=_TEXT)
    yield stat(
        "Lost",
        f"max({lost})\n  or 0 * count({push})",
        "Groups of before the gateway's start that are gone, within an hour of it.",
        unit="percentunit",
        steps=((0, "green"), (0.001, "red")),
    )
    yield stat(
        "Last push",
        f"time() - max({push})",
        "Since the last push to any of the groups.",
        unit="s",
        steps=((0, "text"), (86_400, "orange")),
    )


def gateway_panels(series: Series) -> Iterator[Panel]:
    """What the gateway does, and which groups nobody needs."""
    push = series.of("push_time_seconds")
    request = "pushgateway_http_push_duration_seconds"
    took = (series.of_gateway(f"{request}_{part}") for part in ("sum", "count"))
    took_sum, took_count = (f"sum(rate({part}[$__rate_interval]))" for part in took)
    yield stat(
        "Stale groups",
        f"count({group_queries.stale(series)}) or 0 * count({push})",
        "Groups that nobody pushes to any more: 'pushgate prune --older-than 7d --dry-run'.",
        steps=((0, "green"), (1, "orange")),
        width=4,
    )
    yield stat(
        "Refused",
        f"count({group_queries.push_failing(series)}) or 0 * count({push})",
        "Groups whose last push was refused: what they show is old.",
        steps=_RED_ABOVE_0,
        width=4,
    )
    yield stat(
        "A push takes",
        f"{took_sum} / {took_count}",
        "In the gateway, which checks all that it holds at each push.",
        unit="s",
        steps=((0, "text"), (0.1, "orange")),
        width=4,
    )
    yield time_series(
        "Pushes, by the gateway's answer",
        {
            "{{method}} {{code}}": "sum by (method, code)"
            ' (rate(pushgateway_http_requests_total{handler="push"}[$__rate_interval]))'
        },
        "ops",
        "Requests that push or delete. 200 and 202 are well; 400 is a refusal.",
    )
    yield time_series(
        "Time since the last push",
        {LEGEND: f"time() - {push} and bottomk(10, {push})"},
        "s",
        "The ten groups that nobody has pushed to for longest.",
    )


# Title, metric, further legend, unit, description.
OF_COMMANDS = (
    ("Exit code", vocabulary.EXIT_CODE, "", "none", "128 and the number of a signal."),
    ("Signal", vocabulary.SIGNAL, "", "none", "The signal that killed the command, or 0."),
    ("Timed out", vocabulary.TIMED_OUT, "", "none", "1 where a time limit ended the run."),
    ("CPU time", vocabulary.CPU_SECONDS, " {{mode}}", "s", "With what it waited for."),
    ("Peak memory", vocabulary.MAX_RSS_BYTES, "", "bytes", "Of the command's largest process."),
    ("Block operations", vocabulary.IO_BLOCKS, " {{op}}", "none", "Reads and writes of disks."),
    ("Context switches", vocabulary.CONTEXT_SWITCHES, " {{kind}}", "none", "Waits and turns."),
)
OF_TASKS = (
    ("Queue wait", vocabulary.QUEUE_WAIT, "", "s", "How long it waited to be started."),
    ("Tries", vocabulary.TRY_NUMBER, "", "none", "Which try it was, from 1."),
    (
        "Mapped instances",
        vocabulary.MAPPED_RUNS,
        " {{state}}",
        "none",
        "Instances of a mapped task, by how they ended.",
    ),
    ("Longest instance", vocabulary.MAPPED_LONGEST, "", "s", "Of the mapped task's instances."),
)


def last_run_panels(series: Series, metrics: Sequence[tuple[str, ...]]) -> Iterator[Panel]:
    """What the last runs say of themselves by ``metrics``, OF_COMMANDS or OF_TASKS."""
    for title, name, legend, unit, description in metrics:
        yield time_series(
            f"{title} of the last run",
            {LEGEND + legend: highest(series, name)},
            unit,
            f"{description} The 15 highest.",
        )


def celery_panels(series: Series) -> Iterator[Panel]:
    """Celery's workers, tasks and queues."""
    up, active = series.of("celery_worker_up"), series.of("celery_worker_tasks_active")
    running = f"sum({active} and {up} == 1)"
    slots = f"sum({series.of('celery_worker_concurrency')} and {up} == 1)"
    lost, dropped = (
        f"sum(increase({series.of(name)}[1d]))"
        for name in ("celery_worker_children_lost_total", "pushgate_records_dropped_total")
    )
    crashed = f"count({series.of('celery_worker_crashed')} == 1) or 0 * count({up})"
    for title, query, unit, steps, description in (
        ("Workers", f"count({up} == 1)", "none", _TEXT, "Workers that run."),
        ("Crashed", crashed, "none", _RED_ABOVE_0, "Ended without shutting down."),
        ("Active tasks", running, "none", _TEXT, "Tasks that run."),
        ("Busy", f"{running} / {slots}", "percentunit", _TEXT, "Active tasks of all that can run."),
        ("Children lost", lost, "none", _RED_ABOVE_0, "Died in a task, in a day."),
        ("Uncounted", dropped, "none", _RED_ABOVE_0, "Records not counted, in a day."),
    ):
        yield stat(title, query, description, unit=unit, steps=steps, width=4)
    oldest = series.of("celery_worker_oldest_task_start_timestamp_seconds")
    prefetched = series.of("celery_worker_tasks_prefetched")
    task, queue, worker = "{{task}}", "{{queue}}", "{{instance}}"
    exceptions = _rate(series, "task, exception", "celery_task_exceptions_total")
    for title, queries, unit, description in (
        (
            "Tasks that ended",
            {"{{state}}": _rate(series, "state", "celery_task_finished_total")},
            "ops",
            "By how they ended.",
        ),
        (
            "Exceptions",
            {"{{task}} {{exception}}": f"topk(15, {exceptions} > 0)"},
            "ops",
            "By task, those that made a task retry included; the 15 most frequent.",
        ),
        (
            "Retries and redeliveries",
            {
                f"{task} {what}": f"topk(10, {_rate(series, 'task', name)} > 0)"
                for what, name in (
                    ("retried", "celery_task_retried_total"),
                    ("redelivered", "celery_task_redelivered_total"),
                )
            },
            "ops",
            "By task; the 10 most frequent of each.",
        ),
        (
            "Run time (95%)",
            {task: f"topk(15, {_quantile(series, 'task', 'celery_task_runtime_seconds')})"},
            "s",
            "One run in twenty takes longer; the 15 slowest tasks.",
        ),
        (
            "Wait in the queue (95%)",
            {queue: _quantile(series, "queue", "celery_task_queue_wait_seconds")},
            "s",
            "By queue: one task in twenty waits longer.",
        ),
        (
            "From publication to success (95%)",
            {task: f"topk(15, {_quantile(series, 'task', 'celery_task_latency_seconds')})"},
            "s",
            "Retries included; the 15 slowest tasks.",
        ),
        (
            "Age of each worker's longest task",
            {worker: f"time() - {oldest} and {up} == 1"},
            "s",
            "What never ends keeps a process of its worker busy.",
        ),
        ("Prefetched tasks", {worker: prefetched}, "none", "Taken by a worker and not begun."),
        (
            "Pushes of workers",
            {"{{result}}": _rate(series, "result", "pushgate_pushes_total")},
            "ops",
            "By result. What fails is tried again.",
        ),
    ):
        yield time_series(title, queries, unit, description)


def _rate(series: Series, labels: str, name: str) -> str:
    return f"sum by ({labels}) (rate({series.of(name)}[$__rate_interval]))"


def _quantile(series: Series, label: str, name: str) -> str:
    return f"histogram_quantile(0.95, {_rate(series, f'{label}, le', f'{name}_bucket')})"
