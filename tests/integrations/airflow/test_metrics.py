"""A task's own metrics: whose they are, and what becomes of them."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import set_current_context
from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily

from pushgate_airflow import metrics
from pushgate_airflow._event import Event
from pushgate_airflow._metrics import _MAX_RUNS, _runs, families_of


@pytest.fixture
def running():
    """Make a task the one that is running: ``with running("load") as event``."""
    _runs.clear()

    def running(task_id, run_id="r", try_number=1):
        ti = SimpleNamespace(
            dag_id="etl", task_id=task_id, run_id=run_id, map_index=-1, try_number=try_number
        )
        event = Event("etl", task_id, run_id, "success", -1, try_number)
        return event, set_current_context({"ti": ti})

    return running


def values(event):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families_of(event)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_task_sets_its_own_in_a_line_and_each_run_begins_with_none(running):
    event, task = running("load")
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

    again, task = running("load", try_number=2)
    with task:
        metrics.gauge("other").set(1)
    assert values(again) == {("other",): 1}
    assert values(event) == found
    assert values(event._replace(state="running")) == {}
    assert values(event._replace(task_id=None)) == {}


def test_outside_of_a_task_they_go_nowhere_and_say_so_to_who_looks(caplog):
    with caplog.at_level(logging.DEBUG, "pushgate"):
        metrics.gauge("rows").set(1)
        metrics.gauge("rows", "again, and no duplicate").set(2)
    assert "not pushed" in caplog.text


def test_names_that_can_not_be_pushed(running, caplog):
    event, task = running("load")

    class Custom:
        def collect(self):
            yield GaugeMetricFamily("batch_job_last_success_timestamp_seconds", "Mine.", 1)

    with task:
        metrics.gauge("rows").set(1)
        with pytest.raises(ValueError, match="Gauge of this run already"):
            metrics.counter("rows")
        with pytest.raises(ValueError, match="rename"):
            metrics.gauge("batch_job_rows")
        metrics.registry().register(Custom())
    assert values(event) == {("rows",): 1}
    assert "batch_job_last_success_timestamp_seconds" in caplog.text


def test_a_process_of_many_tasks_forgets_old_ones(running):
    for number in range(_MAX_RUNS + 5):
        _, task = running("load", run_id=str(number))
        with task:
            metrics.gauge("rows").set(number)
    assert len(_runs) == _MAX_RUNS


def test_they_replace_those_of_the_run_before_and_a_run_without_any_leaves_them(
    run_dag, gateway_url, pushgateway
):
    from pushgate import Gateway, gauge

    group = {"dag_id": "succeeds", "task_id": "load", "origin": "job"}
    Gateway(gateway_url).push("airflow", gauge("rows_dropped", "Of an earlier run.", 1), group)
    Gateway(gateway_url).push(
        "airflow",
        gauge("rows_loaded", "", 1),
        {"dag_id": "plain", "task_id": "load", "origin": "job"},
    )
    run_dag("succeeds")
    run_dag("plain")

    pushgateway.assert_pushed("rows_loaded", 42, table="orders", **group)
    pushgateway.assert_not_pushed("rows_dropped")
    pushgateway.assert_pushed("rows_loaded", 1, dag_id="plain")
    pushgateway.assert_pushed("batch_job_last_run_success", 1, dag_id="succeeds", task_id="load")


def test_a_collector_that_raises_costs_its_metrics_and_not_the_outcome(
    running, gateway_url, pushgateway, caplog
):
    from pushgate import Gateway
    from pushgate_airflow._identity import grouping_key
    from pushgate_airflow._report import report

    event, task = running("load")

    class Broken:
        def collect(self):
            raise RuntimeError("no numbers")

        def describe(self):
            return []

    with task:
        metrics.registry().register(Broken())
    error = report(
        event,
        key=grouping_key(event),
        gateway=lambda: Gateway(gateway_url),
        deadline=5,
        extra=lambda: families_of(event),
    )
    assert "no numbers" in str(error)
    assert "no numbers" in caplog.text
    pushgateway.assert_pushed("batch_job_last_run_success", 1, task_id="load")
