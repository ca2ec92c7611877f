"""What Airflow says of a run, as one value, and what it means: a JobRun, an Outcome and a group.

Groups are bounded: a key names the DAG and the task, and the run only where the user says when its
group may be deleted.

``_task_events`` and ``_scheduler_events`` make the values from Airflow's objects. All other modules
know nothing of those objects.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from pushgate import (
    GroupingKey,
    InvalidGroupingKeyError,
    JobRun,
    Outcome,
    Status,
    own_metrics_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "DEADLINE_MISSED",
    "RUNNING",
    "Event",
    "expected_interval",
    "grouping_key",
    "instance_key",
    "is_instance_key",
    "job_run",
    "outcome",
    "plain_state",
    "refuse_empty",
    "refuse_template_of_runs",
)

RUNNING = "running"
DEADLINE_MISSED = "deadline_missed"

_STATUS = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "up_for_retry": Status.RETRY,
    "skipped": Status.SKIPPED,
    "upstream_failed": Status.UPSTREAM_FAILED,
    "removed": Status.SKIPPED,
}
_INSTANCE = "job["
_NEVER_BEGAN = ("upstream_failed", "removed")

# https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html
_OF_A_RUN = re.compile(
    r"\{[{%].*?\b(run_id|[dt]s(?:_nodash(?:_with_tz)?)?|logical_date|data_interval_(?:start|end)"
    r"|prev_\w+|run_after|queued_at|start_date|end_date)\b",
    re.DOTALL,
)
_REMEDY = (
    "so each run would leave a group behind for ever; give run_id_lifetime, after which the group"
    " may be deleted, or leave it out"
)


class Event(NamedTuple):
    """A task's run, or a DAG's where ``task_id`` is None, at one moment.

    ``state`` is Airflow's (running, success, failed, up_for_retry, skipped, upstream_failed,
    removed) or deadline_missed; ``ended_at`` is then the deadline. Times are Unix seconds,
    ``expected_interval`` is in seconds; None is not known. ``map_index`` is -1 for a task that is
    not mapped. ``timed_out`` is of a DAG's run that has ended. ``exception`` is the class of what a
    task raised. Empty texts are not known.
    """

    dag_id: str
    task_id: str | None
    run_id: str
    state: str
    map_index: int = -1
    try_number: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    queued_at: float | None = None
    expected_interval: float | None = None
    timed_out: bool | None = None
    host: str = ""
    exception: str = ""


def job_run(event: Event, key: GroupingKey) -> JobRun:
    """The run that ``event`` is about."""
    return JobRun(
        key,
        event.started_at,
        event.expected_interval,
        host=event.host,
        run_id=event.run_id,
        url=_page(event),
    )


def _page(event: Event) -> str:
    """The page of the run, or of the task's log; empty without ``[api] base_url``.

    As TaskInstance.log_url has it, which not all objects have that an event is made of.
    """
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback=None)
    if not base:
        return ""
    page = f"{base.rstrip('/')}/dags/{event.dag_id}/runs/{quote(event.run_id)}"
    if event.task_id is None:
        return page
    index = f"/mapped/{event.map_index}" if event.map_index >= 0 else ""
    number = f"?try_number={event.try_number}" if event.try_number else ""
    return f"{page}/tasks/{event.task_id}{index}{number}"


def outcome(event: Event) -> Outcome | None:
    """How the run ended; None where it goes on. Without ``ended_at`` it ended now."""
    status = _STATUS.get(event.state)
    if status is None:
        return None
    ended_at = time.time() if event.ended_at is None else event.ended_at
    began = None if event.state in _NEVER_BEGAN else event.started_at
    wait = None
    if began is not None and event.queued_at is not None:
        wait = max(0.0, began - event.queued_at)
    return Outcome(
        status,
        ended_at,
        duration=None if began is None else max(0.0, ended_at - began),
        try_number=event.try_number,
        queue_wait=wait,
        timed_out=event.timed_out,
        exception=event.exception,
    )


def expected_interval(dag: Any, dag_run: Any) -> float | None:
    """Seconds from when ``dag_run`` was due to when the DAG's next run is, by its schedule.

    Exact where runs come at irregular times: ``0 9 * * 1-5`` gives three days on a Friday. None for
    a run that the scheduler did not make, and where no time says when the next run is: no schedule,
    ``@once``, ``@continuous``, assets. No database is asked.
    """
    from pushgate_airflow.version_compat import next_due

    if plain_state(getattr(dag_run, "run_type", None)) != "scheduled":
        return None
    try:
        due = next_due(dag.timetable, dag_run, dag.end_date)
    except Exception as error:  # a timetable of the user's may raise anything
        logging.getLogger("pushgate").debug("the schedule of %r tells no period: %s", dag, error)
        return None
    span = 0.0 if due is None else (due - dag_run.run_after).total_seconds()
    return span if span > 0 else None


def plain_state(state: Any) -> str | None:
    """The text of a state, a run type or None. str() of an enum differs between Pythons."""
    return None if state is None else str(getattr(state, "value", state))


def grouping_key(
    event: Event,
    *,
    job: str = "airflow",
    labels: Mapping[str, object] | None = None,
    by_map_index: bool = False,
    run_lifetime: float | None = None,
) -> GroupingKey:
    """``{job, dag_id, task_id}``, or ``{job, dag_id}`` for a DAG's run.

    ``labels`` are added; one with the name of a default label takes its place, and None as a value
    leaves that label out. ``by_map_index`` gives each mapped task instance its own group. A
    ``run_lifetime``, in seconds, gives each run its own, with the label ``run_id``.

    Raises InvalidGroupingKeyError for labels that a gateway would mangle, that are empty, or that
    name the run without a lifetime.
    """
    made: dict[str, object] = {"dag_id": event.dag_id, "task_id": event.task_id}
    if by_map_index and event.map_index >= 0:
        made["map_index"] = event.map_index
    if run_lifetime is not None:
        made["run_id"] = event.run_id
    given = dict(labels or {})
    for name, value in given.items():
        if value is not None:
            refuse_empty(name, value)
    key = GroupingKey(job, {k: v for k, v in {**made, **given}.items() if v is not None})
    if run_lifetime is None:
        # Of the user's labels alone: a run may be triggered with the id of its DAG or task.
        _refuse_runs({name: key.labels[name] for name in given if name in key.labels}, event)
    own_metrics_key(key)  # raises where the label that tells these apart is taken
    return key


def instance_key(key: GroupingKey, map_index: int) -> GroupingKey:
    """The group of the own metrics of one instance of a mapped task.

    Its instances run side by side and each replaces a group as a whole, so each needs one. The
    scheduler merges them into the task's when the run ends.
    """
    return key.with_labels(origin=f"{_INSTANCE}{map_index}]")


def is_instance_key(labels: Mapping[str, str]) -> bool:
    """Whether these are the labels of such a group."""
    return labels.get("origin", "").startswith(_INSTANCE)


def refuse_empty(label: str, value: object) -> None:
    """Raises InvalidGroupingKeyError for a label that has no value, after templating.

    To Prometheus, a label with an empty value is the same as no label.
    """
    if value is None or not str(value):
        raise InvalidGroupingKeyError(
            f"the grouping key has no value for {label!r}: it is {value!r}, after templating; give"
            " it one, or leave the label out",
            label=label,
            value=None if value is None else "",
        )


def refuse_template_of_runs(label: str, template: str) -> None:
    """Raises InvalidGroupingKeyError for a template whose text is another for each run."""
    if found := _OF_A_RUN.search(template):
        raise InvalidGroupingKeyError(
            f"{label} is made of {found[1]}, {_REMEDY}", label=label, value=template
        )


def _refuse_runs(labels: Mapping[str, str], event: Event) -> None:
    for label, value in labels.items():
        # A run id of Airflow's making holds two underscores; one of a user's may be any word.
        if label == "run_id" or ("__" in event.run_id and event.run_id in value):
            raise InvalidGroupingKeyError(
                f"the label {label!r} names the run, {_REMEDY}", label=label, value=value
            )
