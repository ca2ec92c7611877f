"""The alerts: their expressions, how long these must hold, and their texts. Pure data."""

from __future__ import annotations

from typing import NamedTuple

from . import queries
from .queries import Series

__all__ = ("Alert", "celery_alerts", "gateway_alerts", "job_alerts")

# All labels of the group, such as: backup; airflow dag_id=shop task_id=charge.
_JOB = (
    "{{ $labels.job }}"
    '{{ range $name, $value := $labels }}{{ if ne $name "job" }} {{ $name }}={{ $value }}'
    "{{ end }}{{ end }}"
)
_AGO = "{{ $value | humanizeDuration }}"


class Alert(NamedTuple):
    """One alert.

    ``hold`` is the rule's ``for``. It is empty where the expression itself waits long enough, or
    where the fact can't be undone. ``reason`` is for a comment, on one line or several.
    """

    name: str
    expression: str
    hold: str
    severity: str
    summary: str
    description: str
    reason: str


def job_alerts(series: Series) -> tuple[Alert, ...]:
    """Alerts on the vocabulary that all adapters share. A job that is paused alarms nobody."""
    paused = queries.paused(series)
    return tuple(
        alert._replace(expression=f"(\n{alert.expression}\n) unless {paused}")
        for alert in _of_all_jobs(series)
    )


def _of_all_jobs(series: Series) -> tuple[Alert, ...]:
    return (
        Alert(
            "BatchJobMissed",
            queries.overdue(series),
            "5m",
            "warning",
            f"Batch job {_JOB} has missed a run.",
            f"It last started {_AGO} ago, longer than its schedule allows. Check that its scheduler"
            " runs; delete the group if the job is gone.",
            "No run started, was skipped or had a failed upstream within 1.5 intervals.\n"
            "5m: after an outage of the gateway, hosts need a moment to deliver what they kept.",
        ),
        Alert(
            "BatchJobFailed",
            queries.failed(series),
            "2m",
            "warning",
            f"Batch job {_JOB} has failed.",
            f"Its last run failed {_AGO} ago. This ends with the next success.",
            "The last run that ended failed; the current run changes nothing yet.\n"
            "2m: a task that runs many times a minute fails now and then.",
        ),
        Alert(
            "BatchJobNeverSucceeded",
            queries.never_succeeded(series),
            "1h",
            "warning",
            f"Batch job {_JOB} has never succeeded.",
            f"It failed {_AGO} ago, and no run before has succeeded. Check how it is set up.",
            "It has failed and never succeeded; the first run has done neither before it ends.\n"
            "1h: BatchJobFailed already tells of the first failure of a new job.",
        ),
        Alert(
            "BatchJobStuckRunning",
            queries.stuck(series),
            "5m",
            "warning",
            f"Batch job {_JOB} is stuck, or was killed.",
            f"Its run started {_AGO} ago and has not ended, although the run before was much"
            " shorter: it hangs, or it died without a report, for example with its host.",
            "A run takes over 1h and 3 times as long as the last; over 1d where none has ended.\n"
            "5m: as for BatchJobMissed.",
        ),
        Alert(
            "BatchJobEndsMissing",
            queries.ends_missing(series),
            "15m",
            "warning",
            f"Runs of batch job {_JOB} start, and none ends.",
            f"When it last started, no run had reported its end for {_AGO}: each is killed with all"
            " that could report it (out of memory?), or can't push its end.",
            "The last start came over 1.5 intervals, and 15m, after the last end of any kind. Or\n"
            "no run ever ended, and a start came 2h after another (1d: without a schedule).\n"
            "15m: the first run after a pause looks the same until it ends.",
        ),
        Alert(
            "BatchJobVanished",
            queries.vanished(series),
            "",
            "warning",
            f"A run of batch job {_JOB} has vanished.",
            "It started and never reported its end: it was killed (out of memory?), or its host"
            f" went down. The next run on that host noticed it {_AGO} ago.",
            "The next run on the same host reports that the one before vanished; ends after a day.",
        ),
        Alert(
            "BatchJobDeadlineMissed",
            queries.deadline_missed(series),
            "",
            "warning",
            f"Batch job {_JOB} has missed its deadline.",
            f"A run had not ended at its deadline {_AGO} ago.",
            "Until a run has ended, and for an hour at least: a deadline alert of Airflow.",
        ),
    )


def gateway_alerts(series: Series, scrape_job: str) -> tuple[Alert, ...]:
    """Alerts on the gateway and its groups."""
    up = f'up{{job="{scrape_job}"}}'
    return (
        Alert(
            "PushgatewayDown",
            f"{up} == 0 or absent({up})",
            "5m",
            "critical",
            "The Pushgateway can't be scraped.",
            "No outcome of any batch job reaches Prometheus; alerts on jobs show the state before,"
            " and end soon.",
            "5m: a restart takes seconds, and loses nothing.",
        ),
        Alert(
            "PushFailing",
            queries.push_failing(series),
            "5m",
            "warning",
            f"The Pushgateway refuses the pushes of {_JOB}.",
            f"The last push to this group was refused {_AGO} ago: its metrics are old. The"
            " gateway's log and the job's output have the reason; see 'pushgate doctor'.",
            "5m: a single push of a job that pushes often may be refused.",
        ),
        Alert(
            "GroupStale",
            queries.stale(series),
            "",
            "info",
            f"Nobody pushes to the group {_JOB} any more.",
            f"The last push was {_AGO} ago. If the job is gone, delete its group: 'pushgate prune"
            " --older-than 7d --dry-run' lists all such groups.",
            "7 days, two intervals of a job with a schedule, and never before the group's expiry.",
        ),
    )


def celery_alerts(series: Series) -> tuple[Alert, ...]:
    """Alerts on Celery's workers and queues; silent where there are none."""
    crashed = series.of("celery_worker_crashed")
    # Without a window: a worker that is gone has ended, and rates bridge gaps by themselves.
    now = series._replace(window="")
    up = now.of("celery_worker_up")
    oldest = now.of("celery_worker_oldest_task_start_timestamp_seconds")
    pushed = now.of("push_time_seconds")
    finished = now.of("celery_task_finished_total")
    failures = now.of("celery_task_finished_total", 'state="failure"')
    retried = now.of("celery_task_retried_total")
    started = now.of("celery_task_started_total")
    wait = now.of("celery_task_queue_wait_seconds_bucket")
    dropped = now.of("pushgate_records_dropped_total")
    worker = "Celery worker {{ $labels.instance }}"
    task = "Celery task {{ $labels.task }}"
    return (
        Alert(
            "CeleryWorkerCrashed",
            f"{crashed} == 1",
            "",
            "warning",
            f"{worker} has crashed.",
            "It ended without shutting down (SIGKILL, out of memory), and no worker of its name has"
            " started since.",
            "Until a worker of its name starts.",
        ),
        Alert(
            "CeleryWorkerSilent",
            f"time() - {pushed} > 120\n  and {up} == 1",
            "2m",
            "warning",
            f"{worker} is silent.",
            f"Its last push was {_AGO} ago: its host is gone, or it can't reach the gateway.",
            "A worker pushes every 15s (option interval), also while it has nothing to do.",
        ),
        Alert(
            "CeleryTaskRunsTooLong",
            f"time() - {oldest} > 3600\n  and {up} == 1",
            "5m",
            "warning",
            f"{worker} has a task that does not end.",
            f"It started {_AGO} ago.",
            "1h: set a time limit for tasks, and this to more than the limit.",
        ),
        Alert(
            "CeleryTaskFailing",
            f"sum by (job, task) (rate({failures}[15m]))\n"
            f"  / sum by (job, task) (rate({finished}[15m])) > 0.1",
            "5m",
            "warning",
            f"{task} fails too often.",
            "{{ $value | humanizePercentage }} of its runs of the last 15 minutes failed.",
            "For tasks that run often; BatchJobFailed tells how the last run went.",
        ),
        Alert(
            "CeleryTaskRetriesTooOften",
            f"sum by (job, task) (rate({retried}[15m]))\n"
            f"  / sum by (job, task) (rate({started}[15m])) > 0.1",
            "15m",
            "warning",
            f"{task} is retried too often.",
            "{{ $value | humanizePercentage }} of its tries of the last 15 minutes end in a retry.",
            "15m: the cause of a retry is expected to pass.",
        ),
        Alert(
            "CeleryQueueSlow",
            f"histogram_quantile(0.95, sum by (job, queue, le) (rate({wait}[15m]))) > 300",
            "15m",
            "warning",
            "Tasks wait long in the Celery queue {{ $labels.queue }}.",
            f"One in twenty of those that started in the last 15 minutes had waited for {_AGO}"
            " or more: there are too few workers, or one task keeps them busy.",
            "15m: a queue is there for bursts.",
        ),
        Alert(
            "CeleryOutcomesUncounted",
            f"increase({dropped}[15m]) > 0",
            "",
            "info",
            f"The counters of {worker} are too low.",
            "{{ $value | humanize }} records of the last 15 minutes could not be handed to its"
            " pusher and are not counted.",
            "Outcomes of tasks may be missing, too.",
        ),
    )
