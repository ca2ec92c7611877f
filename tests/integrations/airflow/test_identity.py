"""Which group an event belongs to, and what of it is reported there."""

from __future__ import annotations

import pytest

from pushgate import InvalidGroupingKeyError, Outcome, Status
from pushgate_airflow._event import Event
from pushgate_airflow._identity import grouping_key
from pushgate_airflow._once import _MAX_KEPT, _seen, first
from pushgate_airflow._report import outcome

TASK = Event("etl", "grp.load", "manual__2026-01-01T00:00:00+00:00", "success", map_index=3)
RUN = TASK._replace(task_id=None, map_index=-1)


@pytest.mark.parametrize(
    ("event", "options", "labels"),
    [
        (TASK, {}, {"job": "airflow", "dag_id": "etl", "task_id": "grp.load"}),
        (RUN, {}, {"job": "airflow", "dag_id": "etl"}),
        (RUN, {"by_map_index": True}, {"job": "airflow", "dag_id": "etl"}),
        (
            TASK,
            {"by_map_index": True, "job": "prod"},
            {"job": "prod", "dag_id": "etl", "task_id": "grp.load", "map_index": "3"},
        ),
        (
            TASK,
            {"labels": {"team": "data", "dag_id": "orders", "task_id": None}},
            {"job": "airflow", "dag_id": "orders", "team": "data"},
        ),
        (
            RUN,
            {"run_lifetime": 60.0},
            {"job": "airflow", "dag_id": "etl", "run_id": RUN.run_id},
        ),
    ],
)
def test_the_labels_of_a_group(event, options, labels):
    assert grouping_key(event, **options).labels == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"run_id": "1"},
        {"run": RUN.run_id},
        {"run": f"etl/{RUN.run_id}"},
        {"origin": "x"},
        {"table": ""},
    ],
)
def test_labels_that_would_make_a_group_for_each_run_or_be_mistaken_are_refused(labels):
    with pytest.raises(InvalidGroupingKeyError):
        grouping_key(TASK, labels=labels)


def test_a_run_id_that_is_a_word_is_no_reason_to_refuse_the_same_word():
    event = TASK._replace(run_id="orders")
    assert grouping_key(event, labels={"table": "orders"}).labels["table"] == "orders"


@pytest.mark.parametrize("run_id", ["the__etl", "the__load"])
def test_a_run_that_was_triggered_with_the_id_of_its_dag_or_task_is_reported(run_id):
    event = TASK._replace(dag_id="the__etl", task_id="the__load", run_id=run_id)
    assert grouping_key(event).labels["dag_id"] == "the__etl"
    assert grouping_key(event, labels={"run_id": None}).labels["task_id"] == "the__load"


@pytest.mark.parametrize(
    ("state", "began", "expected"),
    [
        ("success", 100.0, Outcome(Status.SUCCESS, 130.0, 30.0, 2, 5.0)),
        ("failed", 100.0, Outcome(Status.FAILURE, 130.0, 30.0, 2, 5.0)),
        ("failed", None, Outcome(Status.FAILURE, 130.0, None, 2)),
        ("up_for_retry", 100.0, Outcome(Status.RETRY, 130.0, 30.0, 2, 5.0)),
        ("skipped", 100.0, Outcome(Status.SKIPPED, 130.0, 30.0, 2, 5.0)),
        ("skipped", None, Outcome(Status.SKIPPED, 130.0, None, 2)),
        ("upstream_failed", 100.0, Outcome(Status.SKIPPED, 130.0, None, 2)),
        ("removed", None, Outcome(Status.SKIPPED, 130.0, None, 2)),
        ("running", 100.0, None),
        ("deferred", 100.0, None),
    ],
)
def test_what_a_state_means(state, began, expected):
    event = TASK._replace(
        state=state, started_at=began, ended_at=130.0, queued_at=95.0, try_number=2
    )
    assert outcome(event) == expected


def test_a_process_reports_an_end_once_to_a_group():
    key = grouping_key(TASK)
    event = TASK._replace(run_id="once", try_number=1, started_at=1.0)
    assert first(event, key)
    assert not first(event, key)
    assert first(event, grouping_key(event, job="other"))
    for other in ({"state": "failed"}, {"try_number": 2}, {"map_index": 4}, {"started_at": 2.0}):
        assert first(event._replace(**other), key), other


def test_what_was_reported_is_not_remembered_for_ever():
    key = grouping_key(TASK)
    for number in range(_MAX_KEPT + 10):
        assert first(TASK._replace(run_id=f"number {number}"), key)
    assert len(_seen) == _MAX_KEPT
