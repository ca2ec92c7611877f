"""What Airflow hands a listener, as plain values.

Enters: a RuntimeTaskInstance in a task's process; SQLAlchemy objects and their session in a
scheduler or api-server. Leaves: Events and a :class:`RunEnd`. Of the latter objects only what is
loaded is read, by ``vars``: an attribute that is not would ask the database, in a transaction that
is not ours and in a process that stops for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate_airflow._event import Event
from pushgate_airflow._rollup import Ended

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ("RunEnd", "is_of_the_database", "run_end", "run_event", "task_event")

MAX_TASKS = 2000  # of a run; mapped instances are counted by the database and are no part of it
_BEGUN = ("success", "failed")


class RunEnd(NamedTuple):
    """The tasks of a run that has ended; ``mapped`` are counts of instances.

    ``left_out`` says that there were more than MAX_TASKS, of which the failed come first.
    """

    dag_id: str
    run_id: str
    tasks: tuple[Event, ...]
    mapped: tuple[Ended, ...]
    left_out: bool = False


def is_of_the_database(thing: Any) -> bool:
    """Whether SQLAlchemy made it: then this is a scheduler or an api-server, not a task's process.

    https://docs.sqlalchemy.org/en/20/orm/session_state_management.html
    """
    return "_sa_instance_state" in vars(thing)


def run_event(dag_run: Any, state: str) -> Event:
    """A DAG run in ``state``, which the hook's name tells."""
    values = vars(dag_run)
    ended_at = None if state == "running" else _unix(values.get("end_date")) or time.time()
    return Event(
        values["dag_id"],
        None,
        values["run_id"],
        state,
        started_at=_unix(values.get("start_date")),
        ended_at=ended_at,
        queued_at=_unix(values.get("queued_at")),
    )


def task_event(ti: Any, state: str) -> Event:
    """A task instance of the database in ``state``.

    A retry is a failure to the hook: the instance's own state tells it apart.
    """
    values = vars(ti)
    own = _plain(values.get("state"))
    state = "up_for_retry" if state == "failed" and own == "up_for_retry" else state
    return _task(
        values.get("dag_id"),
        values.get("run_id"),
        (
            values.get("task_id"),
            values.get("map_index", -1),
            state,
            values.get("try_number"),
            values.get("start_date"),
            values.get("end_date") or time.time(),
            values.get("queued_dttm"),
            values.get("pid"),
        ),
    )


def run_end(dag_run: Any) -> RunEnd | None:
    """The run's tasks, by two queries in the transaction that ends it.

    None where the run is in no session, as in ``dag.test()``. Other ways were seen to fail:
    ``dag_run.get_task_instances()`` commits and so crashes a scheduler; a thread of ours would have
    to wait for this very transaction.
    """
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return None
    values = vars(dag_run)
    dag_id, run_id = values["dag_id"], values["run_id"]
    of_the_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    single = select(
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.try_number,
        TaskInstance.start_date,
        TaskInstance.end_date,
        TaskInstance.queued_dttm,
        TaskInstance.pid,
    ).where(*of_the_run, TaskInstance.map_index < 0)
    mapped = (
        select(
            TaskInstance.task_id,
            TaskInstance.state,
            func.count(),
            func.count(TaskInstance.pid),
            func.min(TaskInstance.start_date),
            func.max(TaskInstance.end_date),
            func.max(TaskInstance.duration),
            func.max(TaskInstance.try_number),
        )
        .where(*of_the_run, TaskInstance.map_index >= 0)
        .group_by(TaskInstance.task_id, TaskInstance.state)
    )
    # By state, "failed" comes first.
    rows = session.execute(single.order_by(TaskInstance.state).limit(MAX_TASKS + 1)).all()
    groups = session.execute(mapped).all()
    return RunEnd(
        dag_id,
        run_id,
        tuple(_task(dag_id, run_id, tuple(row)) for row in rows[:MAX_TASKS]),
        tuple(
            Ended(task, _plain(state), instances, began, _unix(start), _unix(end), longest, tries)
            for task, state, instances, began, start, end, longest, tries in groups
        ),
        left_out=len(rows) > MAX_TASKS,
    )


def _task(dag_id: Any, run_id: Any, row: tuple[Any, ...]) -> Event:
    task_id, map_index, state, try_number, start, end, queued, pid = row
    state = _plain(state) or "none"
    # Airflow gives a start to what it skips, too: only a process shows that it began.
    began = state in _BEGUN or pid is not None
    return Event(
        dag_id,
        task_id,
        run_id,
        state,
        map_index=map_index,
        try_number=try_number if began else None,
        started_at=_unix(start) if began else None,
        ended_at=_unix(end),
        queued_at=_unix(queued) if began else None,
    )


def _unix(moment: datetime | float | None) -> float | None:
    return moment if moment is None or isinstance(moment, float) else moment.timestamp()


def _plain(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))
