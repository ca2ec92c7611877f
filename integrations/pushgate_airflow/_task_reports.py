"""Reports from the process in which a task or a callback runs, within a deadline.

The gateway's own time-out covers a push with its DNS, TLS and retries. It can't cover the look-up
of the connection, which asks Airflow's supervisor, a secrets backend or a database, on sockets
without a time-out that are not ours; nor what a user's label function or collector does. So all of
it happens in daemon threads, which are left behind when time is up. A thread that waits for the
supervisor holds the task's one channel to it; but then the supervisor, which serves one request
after the other, is what hangs, and the task's next request would wait just as long.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import (
    METRIC_PREFIX,
    DirectSink,
    JobRun,
    Report,
    deadline_report,
    end_families,
    end_reports,
    own_metrics_key,
    start_families,
    start_report,
)
from pushgate_airflow._events import DEADLINE_MISSED, RUNNING, outcome
from pushgate_airflow._group_labels import instance_key
from pushgate_airflow._metrics_of_task import own_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pushgate import Gateway
    from pushgate_airflow._events import Event

# With a gateway that hangs, a task waits at its start and at its end, and no longer than the
# deadline in both. The end tells the start again.
_FOR_THE_START = 1 / 3
_COMPLETION = f"{METRIC_PREFIX}last_completion_timestamp_seconds"
_INSTANCE_LIFETIME = 86_400.0  # seconds, of an instance's own metrics that no run's end merges
_FOR_KEEPING = 0.25  # of the time for a report; it takes about 20 ms, more on a busy disk


def report(
    event: Event,
    run: Callable[[], JobRun | None],
    gateway: Callable[[], Gateway],
    *,
    deadline: float,
    only_ended: bool = False,
) -> None:
    """Push ``event`` of ``run()`` to ``gateway()``, and the task's own metrics at its end.

    ``run`` returns None for what is not to be reported after all. A task's start and end share
    ``deadline`` seconds. What can't be delivered is kept in the gateway's outbox. ``only_ended``:
    whether the task succeeded shows when the run ends. Never raises.
    """
    share = _FOR_THE_START if event.state == RUNNING else 1 - _FOR_THE_START
    sink = DirectSink(
        gateway,
        timeout=deadline * share * (1 - _FOR_KEEPING),
        keep_timeout=deadline * share * _FOR_KEEPING,
    )
    name = event.dag_id if event.task_id is None else f"{event.dag_id}.{event.task_id}"

    def made() -> Iterator[Report]:
        found = run()
        return iter(()) if found is None else _reports(event, found, only_ended)

    sink.deliver(made, f"the push of {event.state} for {name}")


def _reports(event: Event, run: JobRun, only_ended: bool) -> Iterator[Report]:
    ended, now = outcome(event), time.time()
    if ended is None:
        if event.state == RUNNING:
            yield start_report(run)
        elif event.state == DEADLINE_MISSED and event.ended_at is not None:
            yield deadline_report(run, event.ended_at)
        return
    if only_ended:
        # Else the task would look stuck. When it skipped itself is not known; its start is told.
        at = ended.ended_at if event.state == "success" else event.started_at
        told = end_families(run, ended._replace(ended_at=at or ended.ended_at))
        yield Report("POST", run.key, [f for f in told if f.name == _COMPLETION], now)
    else:
        yield from end_reports(run, ended)
    if families := own_families(event, run.key):
        key, expiry = own_metrics_key(run.key), []
        if event.map_index >= 0 and "map_index" not in run.key.labels:
            key = instance_key(run.key, event.map_index)
            lifetime = max(_INSTANCE_LIFETIME, 2 * (run.expected_interval or 0.0))
            expires_at = run.expires_at or now + lifetime
            expiry = start_families(JobRun(key, None, expires_at=expires_at))
        yield Report("PUT", key, [*families, *expiry], now)
