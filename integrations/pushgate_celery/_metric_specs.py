"""The worker's own metrics: names, labels, help texts and buckets. Pure data.

``celery_task_*`` and ``celery_worker_*`` are near celery-exporter's names where they mean the same:
https://github.com/danihodovic/celery-exporter#metrics
"""

from __future__ import annotations

from typing import NamedTuple

from pushgate import METRIC_PREFIX

# Few: each push sends every bucket of every task again.
TASK_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
ANY_UNIT = tuple(float(f"1e{power}") for power in range(-3, 10))
"""Decades, for what a task observes and does not call seconds: rows, bytes, shares."""

RESERVED_PREFIXES = (METRIC_PREFIX, "celery_", "pushgate_", "push_")
"""What a task's own metrics may not begin with: ours, and the gateway's in every group."""


class Spec(NamedTuple):
    """A metric: its name without ``_total``, its label names and its help text."""

    name: str
    labels: tuple[str, ...]
    documentation: str


COUNTERS = (
    Spec("celery_task_started", ("task", "queue"), "Runs that began."),
    Spec(
        "celery_task_finished",
        ("task", "queue", "state"),
        "Runs that ended, by how: success, failure, ignored, rejected or revoked.",
    ),
    Spec("celery_task_retried", ("task", "queue"), "Runs that ended in a retry."),
    Spec(
        "celery_task_exceptions",
        ("task", "exception"),
        "Exceptions that ended runs, those that made a task retry included.",
    ),
    Spec(
        "celery_task_redelivered",
        ("task", "queue"),
        "Runs of messages that the broker had delivered before.",
    ),
    Spec(
        "celery_task_revoked",
        ("task", "reason"),
        "Tasks revoked or expired before they ran, or terminated while they did.",
    ),
    Spec("celery_task_unknown", (), "Messages for a task that the worker does not have."),
    Spec("celery_task_message_rejected", (), "Messages that were no task and were rejected."),
    Spec("celery_worker_children_lost", (), "Child processes that died, and were not meant to."),
    Spec("pushgate_records", (), "Records that the pusher took from the worker's processes."),
    Spec(
        "pushgate_records_dropped",
        (),
        "Records that the worker could not hand to the pusher: what they told is not counted.",
    ),
    Spec("pushgate_pushes", ("result",), "Pushes by result: success, failure or rejected."),
    Spec(
        "pushgate_series_overflowed",
        (),
        "Updates that went to label values of 'other', or nowhere, because of max_series.",
    ),
    Spec("pushgate_metrics_refused", (), "Updates of tasks' own metrics that were refused."),
)

HISTOGRAMS = (
    Spec("celery_task_runtime_seconds", ("task", "queue"), "Duration of runs that ended."),
    Spec(
        "celery_task_queue_wait_seconds",
        ("task", "queue"),
        "Time from publication, or the ETA if later, to the start of a run.",
    ),
    Spec(
        "celery_task_latency_seconds",
        ("task", "queue"),
        "Time from first publication to success, retries included.",
    ),
)

GAUGES = (
    Spec("celery_worker_up", (), "Whether the worker runs: 0 once it stopped or crashed."),
    Spec(
        "celery_worker_crashed",
        (),
        "Whether an error or a signal ended the worker: 1 from then until its next start.",
    ),
    Spec("celery_worker_start_timestamp_seconds", (), "Unix time at which it started."),
    Spec("celery_worker_concurrency", (), "Tasks that the worker can run at the same time."),
    Spec("celery_worker_tasks_active", (), "Tasks that the worker is running."),
    Spec("celery_worker_tasks_prefetched", (), "Tasks it has taken and not begun."),
    Spec(
        "celery_worker_oldest_task_start_timestamp_seconds",
        (),
        "Unix time at which the task that has been running longest began; absent if none runs.",
    ),
)
