"""Mapped tasks: one result for all instances."""

from __future__ import annotations

import pytest

from pushgate_airflow._rollup import Ended, rolled_up

SUCCESS = Ended("t", "success", 3, 3, 10.0, 30.0, 12.0, 1)
FAILED = Ended("t", "failed", 1, 1, 9.0, 25.0, 14.0, 3)
SKIPPED = Ended("t", "skipped", 2, 0, 31.0, 31.0, 0.0, 0)
SKIPPED_ITSELF = Ended("t", "skipped", 2, 1, 11.0, 31.0, 4.0, 1)
UPSTREAM_FAILED = Ended("t", "upstream_failed", 2, 0, 40.0, 40.0, 0.0, 0)


def whole(*ended):
    (task,) = rolled_up("d", "r", ended)
    return task


def test_one_failed_instance_fails_the_task():
    task = whole(SUCCESS, FAILED, SKIPPED)
    assert task.event._asdict() == {
        "dag_id": "d",
        "task_id": "t",
        "run_id": "r",
        "state": "failed",
        "map_index": -1,
        "try_number": 3,
        "started_at": 9.0,
        "ended_at": 31.0,
        "queued_at": None,
        "expected_interval": None,
    }
    assert task.counts == {"success": 3, "failed": 1, "skipped": 2, "upstream_failed": 0}
    assert task.longest == 14.0


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        ((SUCCESS, SKIPPED), "success"),
        ((SUCCESS, UPSTREAM_FAILED), "success"),
        ((SKIPPED, UPSTREAM_FAILED), "skipped"),
        ((FAILED, UPSTREAM_FAILED), "failed"),
    ],
)
def test_the_state_of_the_whole(ended, state):
    assert whole(*ended).event.state == state


def test_a_task_of_which_no_instance_began_has_no_start_and_no_longest():
    task = whole(SKIPPED)
    assert (task.event.started_at, task.event.try_number, task.longest) == (None, None, None)


def test_a_task_whose_instances_skipped_themselves_has_begun_and_so_completes():
    assert whole(SKIPPED_ITSELF).event.started_at == 11.0


@pytest.mark.parametrize("state", [None, "running", "deferred", "up_for_retry"])
def test_a_task_that_goes_on_is_not_told(state):
    assert rolled_up("d", "r", [SUCCESS, SUCCESS._replace(state=state)]) == []


def test_an_instance_that_left_the_dag_does_not_count():
    assert whole(SUCCESS, SUCCESS._replace(state="removed")).counts["success"] == 3
