"""The alerts on Celery's workers and queues; silent where there are none. Pure data.

No window bridges a failed scrape: a worker that is gone has ended, and rates bridge gaps by
themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .alert import AGO, PERCENT, Alert
from .series_selector import number

if TYPE_CHECKING:
    from .series_selector import Series

SILENT_AFTER = 120.0
"""A worker that has not pushed for so many seconds is silent; it pushes every 15."""

_WORKER = "Celery worker {{ $labels.instance }}"
_TASK = "Celery task {{ $labels.task }}"
_DELETE = (
    "'pushgate delete --job {{ $labels.job }} --group instance={{ $labels.instance }}'"
    " deletes its group"
)
_SILENT_FOR = 3600  # seconds, for which a silent worker is told
_LEAST_EVENTS = 3  # of 15 minutes, so that one failure of a rare task is not 100 %


def _crashed(series: Series, _: float) -> str:
    return f"{series.of('celery_worker_crashed')} == 1"


def silent(series: Series, seconds: float) -> str:
    """Seconds since the last push of a worker that should push, for an hour."""
    pushed, up = _now(series, "push_time_seconds"), _now(series, "celery_worker_up")
    return (
        f"time() - {pushed} > {number(seconds)} < {number(seconds + _SILENT_FOR)}\n  and {up} == 1"
    )


def _runs_too_long(series: Series, seconds: float) -> str:
    oldest = _now(series, "celery_worker_oldest_task_start_timestamp_seconds")
    pushed, up = _now(series, "push_time_seconds"), _now(series, "celery_worker_up")
    fresh = f"time() - {pushed} < {_SILENT_FOR}"
    return f"time() - {oldest} > {number(seconds)}\n  and {up} == 1\n  and {fresh}"


def _share_of_tasks(part: str, whole: str, share: float) -> str:
    return (
        f"sum by (job, task) (rate({part}[15m]))\n"
        f"  / sum by (job, task) (rate({whole}[15m])) > {number(share)}\n"
        f"  and sum by (job, task) (increase({part}[15m])) > {_LEAST_EVENTS - 0.5}"
    )


def _failing(series: Series, share: float) -> str:
    name = "celery_task_finished_total"
    return _share_of_tasks(_now(series, name, 'state="failure"'), _now(series, name), share)


def _retried(series: Series, share: float) -> str:
    retried = _now(series, "celery_task_retried_total")
    return _share_of_tasks(retried, _now(series, "celery_task_started_total"), share)


def _slow(series: Series, seconds: float) -> str:
    wait = _now(series, "celery_task_queue_wait_seconds_bucket")
    rate = f"sum by (job, queue, le) (rate({wait}[15m]))"
    return f"histogram_quantile(0.95, {rate}) > {number(seconds)}"


def _restarts(series: Series, times: float) -> str:
    started = _now(series, "celery_worker_start_timestamp_seconds")
    return f"changes({started}[15m]) > {number(times)}"


def _uncounted(series: Series, _: float) -> str:
    return f"increase({_now(series, 'pushgate_records_dropped_total')}[15m]) > 0"


def _now(series: Series, name: str, *matchers: str) -> str:
    return series._replace(window="").of(name, *matchers)


CELERY_ALERTS = (
    Alert(
        "CeleryWorkerCrashed",
        _crashed,
        "warning",
        f"{_WORKER} has crashed.",
        "It ended without shutting down (SIGKILL, out of memory, an error), and no worker of its"
        f" name has started since. If it is gone for good: {_DELETE}.",
        "Until a worker of its name starts.",
    ),
    Alert(
        "CeleryWorkerSilent",
        silent,
        "warning",
        f"{_WORKER} is silent.",
        f"Its last push was {AGO} ago: its host is gone, it waits for its broker, or it can't reach"
        f" the gateway. If it is gone for good: {_DELETE}.",
        "A worker pushes every 15s (option interval), also while it has nothing to do. Ends an\n"
        "hour after the threshold, which is in seconds.",
        hold="2m",
        threshold=SILENT_AFTER,
    ),
    Alert(
        "CeleryWorkerRestarts",
        _restarts,
        "warning",
        f"{_WORKER} starts again and again.",
        "It started {{ $value }} times within 15 minutes: it dies soon after each start, or two"
        " workers have the same node name and overwrite each other's metrics (celery worker -n).",
        "Two workers of one name take turns with the start of theirs.",
        threshold=3,
    ),
    Alert(
        "CeleryTaskRunsTooLong",
        _runs_too_long,
        "warning",
        f"{_WORKER} has a task that does not end.",
        f"It started {AGO} ago.",
        "1h (the threshold, in seconds): set a time limit for tasks, and this to more than that.",
        hold="5m",
        threshold=3600,
    ),
    Alert(
        "CeleryTaskFailing",
        _failing,
        "warning",
        f"{_TASK} fails too often.",
        f"{PERCENT} of its runs of the last 15 minutes failed.",
        "For tasks that run often: three failures in 15m at least. BatchJobFailed tells how the\n"
        "last run went. The threshold is a share.",
        hold="5m",
        threshold=0.1,
    ),
    Alert(
        "CeleryTaskRetriesTooOften",
        _retried,
        "warning",
        f"{_TASK} is retried too often.",
        f"{PERCENT} of its tries of the last 15 minutes end in a retry.",
        "15m: the cause of a retry is expected to pass. The threshold is a share.",
        hold="15m",
        threshold=0.1,
    ),
    Alert(
        "CeleryQueueSlow",
        _slow,
        "warning",
        "Tasks wait long in the Celery queue {{ $labels.queue }}.",
        f"One in twenty of those that started in the last 15 minutes had waited for {AGO}"
        " or more: there are too few workers, or one task keeps them busy.",
        "15m: a queue is there for bursts. The threshold is in seconds.",
        hold="15m",
        threshold=300,
    ),
    Alert(
        "CeleryOutcomesUncounted",
        _uncounted,
        "info",
        f"The counters of {_WORKER} are too low.",
        "{{ $value | humanize }} records of the last 15 minutes could not be handed to its"
        " pusher and are not counted.",
        "Outcomes of tasks may be missing, too.",
    ),
)
