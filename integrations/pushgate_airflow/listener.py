"""The listener: every task and DAG run, without an edit of any DAG.

In a task's process an event is pushed, within the deadline, before the call returns. In a scheduler
or an api-server it is put into a queue, from which a thread pushes. Airflow logs what a listener
raises and then leaves out the listeners after it, so nothing is raised.

https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/listeners.html
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from pushgate_airflow._configuration import configuration
from pushgate_airflow._scheduler_events import is_database_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pushgate import JobRun

__all__ = (
    "before_stopping",
    "on_dag_run_failed",
    "on_dag_run_running",
    "on_dag_run_success",
    "on_starting",
    "on_task_instance_failed",
    "on_task_instance_running",
    "on_task_instance_skipped",
    "on_task_instance_success",
)


@hookimpl
def on_task_instance_running(task_instance: Any) -> None:
    """A task began, or goes on after it was deferred."""
    _task(task_instance, "running")


@hookimpl
def on_task_instance_success(task_instance: Any) -> None:
    """A task succeeded, or was marked so."""
    _task(task_instance, "success")


@hookimpl
def on_task_instance_failed(task_instance: Any, error: object = None) -> None:
    """A task failed, also where it will be tried again; or it was marked so."""
    _task(task_instance, "failed", error)


@hookimpl
def on_task_instance_skipped(task_instance: Any) -> None:
    """A task began and skipped itself, or was marked so."""
    _task(task_instance, "skipped")


@hookimpl
def on_dag_run_running(dag_run: Any) -> None:
    """A run left the state queued."""
    _run(dag_run, "running")


@hookimpl
def on_dag_run_success(dag_run: Any) -> None:
    """A run succeeded, or was marked so."""
    _run(dag_run, "success", timed_out=False)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str = "") -> None:
    """A run failed, or was marked so."""
    _run(dag_run, "failed", timed_out=msg == "timed_out")


@hookimpl
def on_starting(component: Any) -> None:
    """A scheduler starts. Airflow has not set the component's ``job_type`` yet."""
    with _harmless():
        if hasattr(component, "job_type") and sys.argv[1:2] == ["scheduler"]:
            from pushgate_airflow import _scheduler

            _scheduler.start()


@hookimpl
def before_stopping(component: Any) -> None:
    """A scheduler ends. An api-server does not call this: there the exit of the process counts.

    A task's process calls it too, and may go on: in ``dag.test()`` it runs the next task.
    """
    with _harmless():
        if hasattr(component, "job_type"):
            from pushgate_airflow import _scheduler

            _scheduler.stop()
        else:
            from pushgate_airflow._metrics_of_task import warn_of_pause

            warn_of_pause()


def _task(ti: Any, state: str, error: object = None) -> None:
    with _harmless():
        if not configuration().selects(ti.dag_id, ti.task_id):
            return
        if is_database_object(ti):
            from pushgate_airflow import _scheduler

            _scheduler.task(ti, state)
        else:
            _report_task(ti, error)


def _run(dag_run: Any, state: str, *, timed_out: bool | None = None) -> None:
    with _harmless():
        from pushgate_airflow import _scheduler

        _scheduler.run(dag_run, state, timed_out=timed_out)


def _report_task(ti: Any, error: object) -> None:
    """Push, from the task's own process, the event that ``ti`` is at.

    When an instance of a mapped task starts, fails or will be tried again, so does the task as a
    whole. Its success or skip says nothing of the other instances: the scheduler pushes that at the
    run's end, for all of them. Here, that it has ended, and its own metrics.
    """
    from pushgate_airflow._events import job_run
    from pushgate_airflow._gateway_lookup import gateway
    from pushgate_airflow._group_labels import grouping_key
    from pushgate_airflow._metrics_of_task import begin
    from pushgate_airflow._real_runs import is_overtaken, is_reported
    from pushgate_airflow._task_events import event_of
    from pushgate_airflow._task_reports import report

    options = configuration()
    context = {**ti.get_template_context(), "exception": error}
    event, dag_run = event_of(context), context.get("dag_run")
    if event.state == "running":
        begin(event)
    if not is_reported(dag_run, event):
        return

    def run() -> JobRun | None:
        if is_overtaken(context.get("dag"), dag_run):
            return None
        return job_run(event, grouping_key(event, job=options.job))

    report(
        event,
        run,
        partial(gateway, keeping=True),
        deadline=options.deadline,
        only_ended=event.map_index >= 0 and event.state in ("success", "skipped"),
    )


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        logging.getLogger("pushgate").error("the listener failed", exc_info=True)
