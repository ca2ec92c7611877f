"""The labels of the groups that runs are reported to.

Groups are bounded: a key names the DAG and the task, and the run only where the user says when its
group may be deleted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pushgate import GroupingKey, InvalidGroupingKeyError, own_metrics_key
from pushgate_airflow._events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

_INSTANCE = "job["

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


def check_labels(job: str | None, labels: Mapping[str, object], of_each_run: bool) -> None:
    """Raises InvalidGroupingKeyError for what would be refused at each call, or never end."""
    anything = Event("dag", "task", "run", "success")
    lifetime = 1.0 if of_each_run else None
    grouping_key(anything, labels=dict.fromkeys(labels, "value"), run_lifetime=lifetime)
    if job is not None and "{" not in job:
        GroupingKey(job)
    if not of_each_run:
        for name, value in {**labels, "job": job}.items():
            if isinstance(value, str):
                _refuse_template_of_runs(name, value)


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


def _refuse_template_of_runs(label: str, template: str) -> None:
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
