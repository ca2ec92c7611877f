"""The listener: every task and DAG run, without an edit of any DAG.

Enters: Airflow's calls, in the process of a task, a scheduler or an api-server. Leaves: in a task's
process a push, done within the deadline when the call returns; elsewhere an item in a queue, from
which a thread of its own pushes. Airflow logs what a listener raises and leaves out the listeners
after it, so nothing is raised.

https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/listeners.html
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from pushgate_airflow._configuration import configuration
from pushgate_airflow._listener_events import is_of_the_database
from pushgate_airflow._selection import selected

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = (
    "before_stopping",
    "on_dag_run_failed",
    "on_dag_run_running",
    "on_dag_run_success",
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
    """A task succeeded, or somebody marked it so."""
    _task(task_instance, "success")


@hookimpl
def on_task_instance_failed(task_instance: Any) -> None:
    """A task failed, also where it will be tried again; or somebody marked it so."""
    _task(task_instance, "failed")


@hookimpl
def on_task_instance_skipped(task_instance: Any) -> None:
    """A task began and skipped itself, or somebody marked it so."""
    _task(task_instance, "skipped")


@hookimpl
def on_dag_run_running(dag_run: Any) -> None:
    """A run left the state queued."""
    _run(dag_run, "running")


@hookimpl
def on_dag_run_success(dag_run: Any) -> None:
    """A run succeeded, or somebody marked it so."""
    _run(dag_run, "success")


@hookimpl
def on_dag_run_failed(dag_run: Any) -> None:
    """A run failed, or somebody marked it so."""
    _run(dag_run, "failed")


@hookimpl
def before_stopping(component: Any) -> None:
    """A scheduler ends. An api-server does not call this: there the exit of the process counts.

    A task's process calls it too, and may go on: in ``dag.test()`` it runs the next task.
    """
    with _harmless():
        if hasattr(component, "job_type"):
            from pushgate_airflow import _heard

            _heard.stop()


def _task(ti: Any, state: str) -> None:
    with _harmless():
        if not selected(configuration(), ti.dag_id, ti.task_id):
            return
        if is_of_the_database(ti):
            from pushgate_airflow import _heard

            _heard.task(ti, state)
        else:
            from pushgate_airflow._in_worker import report_task

            report_task(ti)


def _run(dag_run: Any, state: str) -> None:
    with _harmless():
        from pushgate_airflow import _heard

        _heard.run(dag_run, state)


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception:
        logging.getLogger("pushgate").warning("the listener failed", exc_info=True)
