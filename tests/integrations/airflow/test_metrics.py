"""A task's own metrics: whose they are, and where they arrive."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import set_current_context
from prometheus_client import Gauge

from pushgate import Gateway, gauge
from pushgate_airflow import Event, metrics


@pytest.fixture
def running(request):
    """Make a task the one that is running: ``with running() as its event``."""

    def running(try_number=1):
        ti = SimpleNamespace(
            dag_id="etl",
            task_id="load",
            run_id=request.node.name,
            map_index=-1,
            try_number=try_number,
        )
        event = Event(ti.dag_id, ti.task_id, ti.run_id, "success", -1, try_number)
        return event, set_current_context({"ti": ti})

    return running


def values(event):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.own_families(event) or ()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_task_sets_its_own_in_a_line_and_each_run_begins_with_none(running):
    event, task = running()
    with task:
        metrics.gauge("rows", "Rows.", ["table"]).labels("orders").set(42)
        metrics.gauge("rows", "Rows.", ["table"]).labels(table="users").set(7)
        metrics.counter("refused", "Refused.").inc(3)
        metrics.histogram("size", "Size.", buckets=[1]).observe(2)
        metrics.summary("wait", "Wait.").observe(2)
        Gauge("theirs", "Made elsewhere.", registry=metrics.registry()).set(1)
    found = values(event)
    assert found["rows", "orders"] == 42
    assert found["rows", "users"] == 7
    assert found[("refused_total",)] == 3
    assert found[("theirs",)] == 1
    assert found["size_bucket", "1.0"] == 0

    again, task = running(try_number=2)
    with task:
        metrics.gauge("other").set(1)
    assert values(again) == {("other",): 1}
    assert values(event) == found
    assert values(event._replace(task_id=None)) == {}


def test_outside_of_a_task_they_go_nowhere_and_the_debug_log_says_so(caplog):
    with caplog.at_level(logging.DEBUG, "pushgate"):
        metrics.gauge("rows").set(1)
        metrics.gauge("rows", "again, and no duplicate").set(2)
    assert "not pushed" in caplog.text


def test_names_that_can_not_be_pushed_are_errors_in_the_task(running):
    event, task = running()
    with task:
        metrics.gauge("rows").set(1)
        with pytest.raises(ValueError, match="Gauge of this run already"):
            metrics.counter("rows")
        with pytest.raises(ValueError, match="rename"):
            metrics.gauge("batch_job_rows")
    assert values(event) == {("rows",): 1}


def test_a_process_of_many_tasks_forgets_old_ones(running):
    events = []
    for number in range(110):
        event, task = running(try_number=number)
        events.append(event)
        with task:
            metrics.gauge("rows").set(number)
    assert values(events[0]) == {}
    assert values(events[-1]) == {("rows",): 109}


def test_they_replace_those_of_the_run_before_and_a_run_without_any_leaves_them(
    run_dag, gateway_url, pushgateway
):
    group = {"dag_id": "succeeds", "task_id": "load", "origin": "job"}
    other = {**group, "dag_id": "plain"}
    Gateway(gateway_url).push("airflow", gauge("rows_dropped", "Of an earlier run.", 1), group)
    Gateway(gateway_url).push("airflow", gauge("rows_loaded", "", 1), other)
    run_dag("succeeds")
    run_dag("plain")

    pushgateway.assert_pushed("rows_loaded", 42, table="orders", **group)
    pushgateway.assert_not_pushed("rows_dropped")
    pushgateway.assert_pushed("rows_loaded", 1, dag_id="plain")
    pushgateway.assert_pushed("batch_job_last_run_success", 1, dag_id="succeeds", task_id="load")
