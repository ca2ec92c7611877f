"""The events that a scheduler or an api-server hears of, from the database's objects.

Only what is loaded is read, by ``vars``: reading any other attribute would query the database, in a
transaction that is not ours and in a process that stops for it.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate_airflow._events import Event, expected_interval, plain_state, unix_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_TASKS = 2000  # of a run; the database counts the mapped instances, which are no part of it
_COLUMNS = (
    *("dag_id", "run_id", "task_id", "map_index", "state", "try_number"),
    *("start_date", "end_date", "pid", "hostname"),
)
_BEGUN = ("success", "failed")
_WHOLE = ("failed", "success", "upstream_failed")  # the first of which there is one
_ENDED = ("success", "failed", "skipped", "upstream_failed")


class MappedTask(NamedTuple):
    """All instances of a mapped task in a run: ``counts`` by state, ``longest`` in seconds."""

    event: Event
    counts: Mapping[str, int]
    longest: float | None


class RunEnd(NamedTuple):
    """The tasks of a run that has ended, each with its end.

    ``task_ids`` are all that it has, ``of_other_runs`` those of the DAG's runs that go on.
    ``is_cut`` says that there were more than MAX_TASKS; the failed ones come first.
    """

    dag_id: str
    run_id: str
    started_at: float | None
    tasks: tuple[Event, ...]
    mapped: tuple[MappedTask, ...]
    task_ids: frozenset[str]
    of_other_runs: frozenset[str]
    is_cut: bool


def is_database_object(thing: Any) -> bool:
    """Whether this is a scheduler or an api-server, and not a task's process.

    https://docs.sqlalchemy.org/en/20/orm/session_state_management.html
    """
    return "_sa_instance_state" in vars(thing)


def run_event(dag_run: Any, state: str) -> Event:
    """A DAG run in ``state``, which the name of the listener's function tells."""
    values = vars(dag_run)
    ended_at = None if state == "running" else unix_time(values.get("end_date")) or time.time()
    return Event(
        values["dag_id"],
        None,
        values["run_id"],
        state,
        started_at=unix_time(values.get("start_date")),
        ended_at=ended_at,
        queued_at=unix_time(values.get("queued_at")),
        expected_interval=expected_interval(values.get("dag"), SimpleNamespace(**values)),
    )


def task_event(ti: Any, state: str) -> Event:
    """A task instance of the database in ``state``. Airflow announces a retry as a failure."""
    values = vars(ti)
    is_retry = state == "failed" and plain_state(values.get("state")) == "up_for_retry"
    return _task(
        {
            **values,
            "state": "up_for_retry" if is_retry else state,
            "end_date": values.get("end_date") or time.time(),
        }
    )


def run_end(dag_run: Any) -> RunEnd | None:
    """The run's tasks, by three queries in the transaction that ends it.

    None where the run is in no session, as in ``dag.test()``. Other ways were seen to fail:
    ``dag_run.get_task_instances()`` commits, which crashes a scheduler; a thread of ours would wait
    for this very transaction.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import func, select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return None
    values = vars(dag_run)
    dag_id, run_id = values["dag_id"], values["run_id"]
    of_the_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    single = select(*(getattr(TaskInstance, name) for name in _COLUMNS))
    mapped = select(
        TaskInstance.task_id,
        TaskInstance.state,
        func.count().label("instances"),
        func.count(TaskInstance.pid).label("began"),
        func.min(TaskInstance.start_date).label("first_start"),
        func.max(TaskInstance.end_date).label("last_end"),
        func.max(TaskInstance.duration).label("longest"),
        func.max(TaskInstance.try_number).label("try_number"),
    ).group_by(TaskInstance.task_id, TaskInstance.state)
    # By state, "failed" comes first.
    single = single.where(*of_the_run, TaskInstance.map_index < 0).order_by(TaskInstance.state)
    rows = session.execute(single.limit(MAX_TASKS + 1)).all()
    states = session.execute(mapped.where(*of_the_run, TaskInstance.map_index >= 0)).all()
    going_on = select(DagRun.run_id).where(
        DagRun.dag_id == dag_id, DagRun.run_id != run_id, DagRun.state.in_(("queued", "running"))
    )
    of_others = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id.in_(going_on)
    )
    others = session.scalars(of_others.distinct().limit(MAX_TASKS + 1)).all()
    tasks = (_task(row._mapping) for row in rows[:MAX_TASKS])
    return RunEnd(
        dag_id,
        run_id,
        unix_time(values.get("start_date")),
        tuple(event for event in tasks if event.state in _ENDED),
        tuple(rolled_up(dag_id, run_id, states)),
        frozenset(r.task_id for r in (*rows, *states) if plain_state(r.state) != "removed"),
        frozenset(others),
        is_cut=max(len(rows), len(others)) > MAX_TASKS,
    )


def rolled_up(dag_id: str, run_id: str, states: Iterable[Any]) -> list[MappedTask]:
    """One result for each mapped task of which all instances have ended.

    Each of ``states`` stands for a task's instances in one state, so a thousand instances cost what
    one costs: how many there are, how many of them had a process (``began``), their first start,
    last end, longest duration and highest try number. The task failed if any instance failed, and
    succeeded if none did and any succeeded.
    """
    tasks: dict[str, list[Any]] = {}
    for row in states:
        if plain_state(row.state) != "removed":  # no longer in the DAG
            tasks.setdefault(row.task_id, []).append(row)
    return [
        _whole(dag_id, run_id, task_id, rows)
        for task_id, rows in tasks.items()
        if all(plain_state(row.state) in _ENDED for row in rows)
    ]


def _whole(dag_id: str, run_id: str, task_id: str, rows: list[Any]) -> MappedTask:
    counts = dict.fromkeys(_ENDED, 0)
    for row in rows:
        counts[str(plain_state(row.state))] += row.instances
    # An EmptyOperator succeeds without a process; what is skipped may have had one.
    ran = [row for row in rows if row.began or plain_state(row.state) in _BEGUN]
    event = Event(
        dag_id,
        task_id,
        run_id,
        next((s for s in _WHOLE if counts[s]), "skipped"),
        try_number=_known(max, (row.try_number for row in ran)),
        started_at=unix_time(_known(min, (row.first_start for row in ran))),
        ended_at=unix_time(_known(max, (row.last_end for row in rows))),
    )
    return MappedTask(event, counts, _known(max, (row.longest for row in ran)))


def _known(choose: Callable[..., Any], values: Iterable[Any]) -> Any:
    return choose((value for value in values if value is not None), default=None)


def _task(values: Mapping[Any, Any]) -> Event:
    state = plain_state(values.get("state")) or "none"
    # Airflow gives a start also to what it skips. Only a process shows that the task began.
    began = state in _BEGUN or values.get("pid") is not None
    return Event(
        values["dag_id"],
        values["task_id"],
        values["run_id"],
        state,
        map_index=values.get("map_index", -1),
        try_number=values.get("try_number") if began else None,
        started_at=unix_time(values.get("start_date")) if began else None,
        ended_at=unix_time(values.get("end_date")),
        host=values.get("hostname") or "",
    )
