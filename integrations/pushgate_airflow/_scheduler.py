"""The listener in a scheduler or an api-server: events wait in a queue, and a thread pushes them.

Nothing here asks for a connection, sends anything or waits: a scheduler whose listener did never
left ``queued``. At a run's end, only what a task's group lacks is pushed: its own process has
pushed the rest.
"""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pushgate import (
    QueueSink,
    RateLimitedLogger,
    Report,
    end_families,
    mapped_families,
    start_families,
)
from pushgate_airflow._configuration import Configuration, configuration
from pushgate_airflow._events import job_run, outcome
from pushgate_airflow._gateway_lookup import configured_gateway, outbox
from pushgate_airflow._group_labels import grouping_key
from pushgate_airflow._real_runs import is_overtaken_in_database, is_reported
from pushgate_airflow._scheduler_events import MAX_TASKS, run_end, run_event, task_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pushgate import Family
    from pushgate_airflow._events import Event
    from pushgate_airflow._reconcile import Reconciler
    from pushgate_airflow._scheduler_events import RunEnd

# A worker tells Airflow of a success before it runs the callbacks and the listener, so its push may
# still be under way when the run ends. A second after its deadline it has arrived or never will.
_SETTLED = 1.0

_RECONCILED_EVERY = 30.0  # seconds

_log = RateLimitedLogger(interval=60.0)
_reconciler: Reconciler | None = None


def start() -> None:
    """Make the queue, which imports what its thread needs: a scheduler forks later."""
    global _reconciler  # noqa: PLW0603 - only a scheduler has one
    from pushgate_airflow._reconcile import Reconciler, prepare

    prepare()
    _sink()
    _reconciler = Reconciler(configured_gateway)
    _reconcile(_reconciler, 0.0)


def task(ti: Any, state: str) -> None:
    """A task instance that no worker reports: killed, or marked in the UI, at any time."""
    event = task_event(ti, state)
    if is_reported(vars(ti).get("dag_run"), event):
        _put(event, compare=True)


def run(dag_run: Any, state: str, *, timed_out: bool | None = None) -> None:
    """A run that began or ended, and at its end all of its tasks."""
    options = configuration()
    if not options.listener:
        return
    event = run_event(dag_run, state)._replace(timed_out=timed_out)
    if not is_reported(dag_run, event) or is_overtaken_in_database(dag_run):
        return
    if options.selects(event.dag_id, None):
        _put(event)
    end = None if state == "running" else run_end(dag_run)
    if end is not None and (weight := len(end.tasks) + len(end.mapped)):
        slot = (end.dag_id, end.run_id)
        delay = options.deadline + _SETTLED
        _sink().put(slot, lambda: _reports(end, options), weight=weight, delay=delay)
        if _reconciler is not None:
            _reconciler.run_ended(end)
            _reconcile(_reconciler, delay)


def stop() -> None:
    """Try once more to deliver what waits, and keep the rest in the outbox."""
    if _reconciler is not None:
        _reconciler.is_stopped = True
    if _sink.cache_info().currsize:
        sink = _sink()
        _sink.cache_clear()
        sink.close()


def _reconcile(reconciler: Reconciler, delay: float) -> None:
    """Reconcile in ``delay`` seconds, and again and again."""

    def make() -> list[Report]:
        if not reconciler.is_stopped:
            _reconcile(reconciler, _RECONCILED_EVERY)
        return reconciler.reports()

    _sink().put("reconcile", make, weight=0, delay=delay)


def _put(event: Event, *, compare: bool = False) -> None:
    # One place for each state of a group: a success does not vanish because another run began.
    slot = (event.dag_id, event.task_id, event.state, event.map_index)
    options = configuration()
    _sink().put(slot, lambda: [_report(event, options, compare=compare)])


def _reports(end: RunEnd, options: Configuration) -> Iterator[Report]:
    if end.is_cut:
        text = f"{end.dag_id}: of a run, {MAX_TASKS} tasks are reported"
        _log.warning(text, subject="is_cut")
    for event in end.tasks:
        if options.selects(event.dag_id, event.task_id):
            yield _report(event, options, compare=True)
    for event, counts, longest in end.mapped:
        if options.selects(event.dag_id, event.task_id):
            yield _report(event, options, mapped_families(counts, longest), compare=True)


def _report(
    event: Event, options: Configuration, mapped: Sequence[Family] = (), *, compare: bool = False
) -> Report:
    """POST what ``event`` says. ``compare``: only where the gateway holds nothing newer."""
    key = grouping_key(event, job=options.job)
    job, end = job_run(event, key), outcome(event)
    families = start_families(job) if end is None else end_families(job, end)
    at = (event.started_at or time.time()) if end is None else end.ended_at
    # The database knows a run's start earlier, and its end later, than the task's own process has
    # pushed them. Nothing but this pushes the numbers of a mapped task.
    started_at = None if mapped else event.started_at
    return Report("POST", key, [*families, *mapped], at, compare, started_at)


@lru_cache(maxsize=1)
def _sink() -> QueueSink:
    """The one of this process; a forked one begins with nothing that waits.

    Logs that the listener works and where it pushes, or what to set.
    """
    log = logging.getLogger("pushgate")
    try:
        url = configured_gateway().url
        log.info("the listener works: DAG runs, and tasks at a run's end, are pushed to %s", url)
    except Exception as error:
        log.error("the listener can't push what this process knows: %s", error)
    deadline = configuration().deadline
    return QueueSink(configured_gateway, outbox=outbox(), timeout=deadline, patience=deadline)
