"""The event that a callback or a task's listener is called for, from the context it is given.

The context is made by a task's own process, by the dag-processor, by ``dag.test()`` or for a missed
deadline. It is only read, and no attribute is taken for granted: the dag-processor makes its
objects without validation, and a field of one process is missing in another.

Who makes them, in Airflow 3.3:
https://github.com/apache/airflow/blob/3.3.2/task-sdk/src/airflow/sdk/execution_time/task_runner.py
(get_template_context), .../airflow-core/src/airflow/dag_processing/processor.py
(_execute_dag_callbacks, _execute_task_callbacks), .../airflow/models/deadline.py (handle_miss).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pushgate_airflow._events import (
    DEADLINE_MISSED,
    RUNNING,
    Event,
    expected_interval,
    plain_state,
    unix_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def event_of(context: Mapping[str, Any], callback: object = None) -> Event:
    """The event that ``callback`` was called for.

    Raises ValueError for a context that Airflow did not make.
    """
    if "deadline" in context:
        return _missed_deadline(context)
    ti = _task_instance(context)
    # Only the dag-processor gives a reason, and only to a DAG's callbacks: their ti is some task of
    # the run, or there is none.
    if ti is not None and (in_task_process(context) or "reason" not in context):
        event = _of_task(ti, context.get("task"), callback)
    elif "reason" in context:
        event = _of_run(context)
    else:
        raise ValueError(
            "the context has no task instance, no deadline and no reason: it is none of Airflow's;"
            " call this as a callback, with the context that Airflow passes"
        )
    if isinstance(error := context.get("exception"), BaseException):
        event = event._replace(exception=type(error).__name__)
    dag, run = context.get("dag"), context.get("dag_run")
    if dag is None or run is None:
        return event
    return event._replace(expected_interval=expected_interval(dag, run))


def in_task_process(context: Mapping[str, Any]) -> bool:
    """Whether the task's own process made the context: no other knows when the task started."""
    return getattr(_task_instance(context), "start_date", None) is not None


def _task_instance(context: Mapping[str, Any]) -> Any:
    return context.get("ti") or context.get("task_instance")


def _of_task(ti: Any, task: Any, callback: object) -> Event:
    started_at, map_index = unix_time(getattr(ti, "start_date", None)), getattr(ti, "map_index", -1)
    if started_at is None:  # it was killed, or never started, and another process tells
        state = _state_of_slot(task, callback) or _state_of_lost(ti, task)
    else:
        state = plain_state(ti.state) or RUNNING  # unset or running until the body has ended
    ended_at = unix_time(getattr(ti, "end_date", None)) or time.time()  # none where it skipped
    return Event(
        ti.dag_id,
        ti.task_id,
        ti.run_id,
        state,
        map_index=-1 if map_index is None else int(map_index),
        try_number=ti.try_number,
        started_at=started_at,
        ended_at=None if state == RUNNING else ended_at,
        host=getattr(ti, "hostname", None) or "",
    )


def _of_run(context: Mapping[str, Any]) -> Event:
    run = context.get("dag_run")  # None where the run has no task that Airflow could name
    state = plain_state(getattr(run, "state", None))
    if state not in ("success", "failed"):
        state = "success" if context["reason"] == "success" else "failed"
    return Event(
        context["dag"].dag_id,
        None,
        context["run_id"],
        state,
        started_at=unix_time(getattr(run, "start_date", None)),
        ended_at=unix_time(getattr(run, "end_date", None)) or time.time(),
        timed_out=context["reason"] == "timed_out",
    )


def _missed_deadline(context: Mapping[str, Any]) -> Event:
    run = context["dag_run"]
    return Event(
        run["dag_id"],
        None,
        run["dag_run_id"],
        DEADLINE_MISSED,
        started_at=unix_time(run.get("start_date")),
        ended_at=unix_time(context["deadline"].get("deadline_time")) or time.time(),
    )


def _state_of_slot(task: Any, callback: object) -> str | None:
    """The state that the slot of ``callback`` stands for, if it sits in one of the two.

    The context does not say which of the two slots Airflow calls.
    """
    slots = []
    for state, slot in (("up_for_retry", "on_retry_callback"), ("failed", "on_failure_callback")):
        found = getattr(task, slot, None)
        callbacks = found if isinstance(found, (list, tuple)) else [found]
        if any(one is callback for one in callbacks):
            slots.append(state)
    return slots[0] if len(slots) == 1 else None


def _state_of_lost(ti: Any, task: Any) -> str:
    """As the scheduler decides it: TaskInstance.is_eligible_to_retry."""
    try_number, max_tries = ti.try_number, getattr(ti, "max_tries", 0)
    again = getattr(task, "retries", max_tries) and try_number <= max_tries
    return "up_for_retry" if again else "failed"
