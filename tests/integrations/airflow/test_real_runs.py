"""Only real runs are reported: no test, no backfill, none that a later one has overtaken."""

import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pushgate_airflow import PushgatewayNotifier, listener

SUCCESS = "batch_job_last_success_timestamp_seconds"
FAILURE = "batch_job_last_failure_timestamp_seconds"
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _configured(configure, gateway_url, caplog):
    caplog.set_level(logging.INFO, "pushgate")
    configure(listener=True, test_runs=None)
    yield
    delivered()


def delivered():
    listener.before_stopping(SimpleNamespace(job_type="SchedulerJob"))


# Test runs.


def test_a_test_run_pushes_nothing_and_says_so_once(run_dag, pushgateway, caplog, configure):
    configure(listener=False)
    assert run_dag("succeeds").state == "success"
    assert pushgateway.groups() == []
    lines = [line for line in caplog.messages if "nothing is pushed of the run" in line]
    assert len(lines) == 1
    assert "test_runs = True" in lines[0]


# Runs of the database, in a session, as a scheduler has them.


@contextmanager
def scheduler_run(dag_id, due, run_type="scheduled", **values):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    began = datetime.now(UTC) - timedelta(seconds=1)
    with create_session() as session:
        values = {"logical_date": due, "run_after": due, "start_date": began, **values}
        run = DagRun(dag_id, f"{run_type}__{due.isoformat()}", run_type=run_type, **values)
        run.state, run.end_date = "success", datetime.now(UTC)
        session.add(run)
        session.flush()
        try:
            yield run
        finally:
            session.rollback()


@pytest.fixture
def outside_of_tests(airflow_database, monkeypatch):
    """No task's process of an earlier ``dag.test()``."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if runner is not None:
        monkeypatch.setattr(runner, "SUPERVISOR_COMMS", None, raising=False)


@pytest.mark.usefixtures("outside_of_tests")
@pytest.mark.parametrize(
    ("days_ago", "run_type", "values", "is_pushed"),
    [
        (0, "scheduled", {}, True),
        (0, "manual", {}, True),
        (3, "backfill", {}, False),
        (0, "backfill", {}, False),
        (3, "scheduled", {}, False),  # cleared, say
        (0, "manual", {"data_interval": (TODAY - timedelta(days=3),) * 2}, False),
        (3, "manual", {}, False),
        (0, "manual", {"triggered_by": "TEST"}, False),
    ],
)
def test_a_run_that_is_not_the_latest_real_one_is_not_told(
    days_ago, run_type, values, is_pushed, pushgateway, caplog
):
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.orm import object_session

    if "triggered_by" in values:
        values = {"triggered_by": DagRunTriggeredByType.TEST}
    due = TODAY - timedelta(days=days_ago, minutes=-1 if run_type == "manual" else 0)
    with scheduler_run("told", due, run_type, **values) as run:
        yesterday = TODAY - timedelta(days=1)
        last = DagRun("told", "scheduled__1", run_type="scheduled", run_after=yesterday)
        last.logical_date, last.state = yesterday, "failed"
        session = object_session(run)
        session.add(last)
        session.flush()
        listener.on_dag_run_running(run)
        listener.on_dag_run_success(run)
    delivered()
    groups = pushgateway.groups(dag_id="told")
    assert bool(groups) == is_pushed
    assert ("nothing is pushed of the run" in caplog.text) != is_pushed


# A task's process asks Airflow's supervisor.


class Supervisor:
    """Answers as Airflow's: the latest run in a state."""

    def __init__(self, **latest):
        self.latest = latest
        self.asked = []

    def send(self, question):
        self.asked.append(question.state)
        return SimpleNamespace(dag_run=self.latest.get(question.state))


@pytest.mark.usefixtures("outside_of_tests")
@pytest.mark.parametrize("state", ["success", "failed"])
@pytest.mark.parametrize(
    ("days_ago", "other", "is_told"),
    [
        (0, None, True),
        (3, None, True),
        (3, {"days_ago": 2}, False),
        (3, {"days_ago": 4}, True),
        (3, {"days_ago": 2, "run_type": "backfill"}, True),
        (3, {"days_ago": 2, "triggering_user_name": "dag_test"}, True),
    ],
)
def test_a_task_of_an_old_run_is_told_unless_a_later_run_has_ended(
    monkeypatch, gateway_url, pushgateway, state, days_ago, other, is_told
):
    from airflow.sdk.execution_time import task_runner

    supervisor = Supervisor(**{state: other and dag_run(**other)})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    context = task_context(dag_run(days_ago))
    ti = context["ti"]
    ti.get_template_context = lambda: context
    listener.on_task_instance_success(ti)
    assert bool(pushgateway.groups(dag_id="told")) == is_told
    pushgateway.clear()
    PushgatewayNotifier(gateway=gateway_url, labels={"team": "a"}).notify(context)
    assert bool(pushgateway.groups(dag_id="told")) == is_told


def task_context(run):
    now = datetime.now(UTC)
    ti = SimpleNamespace(dag_id="told", task_id="load", run_id=run.run_id, map_index=-1)
    vars(ti).update(try_number=1, state="success", start_date=now, end_date=now)
    return {"ti": ti, "dag_run": run, "dag": None}


def dag_run(days_ago=0, run_type="scheduled", **values):
    at = (TODAY if days_ago else datetime.now(UTC)) - timedelta(days=days_ago)
    return SimpleNamespace(
        dag_id="told",
        run_id=f"{run_type}__{at.isoformat()}",
        run_type=run_type,
        run_after=at,
        data_interval_start=at,
        data_interval_end=at,
        **values,
    )


@pytest.mark.usefixtures("outside_of_tests")
def test_a_backfill_tells_nothing_but_in_a_group_of_each_run(gateway_url, pushgateway):
    context = task_context(dag_run(3, "backfill"))
    PushgatewayNotifier(gateway=gateway_url, labels={"team": "a"}).notify(context)
    assert pushgateway.groups() == []
    PushgatewayNotifier(gateway=gateway_url, run_id_lifetime=60).notify(context)
    (group,) = pushgateway.groups()
    assert group.labels["run_id"] == context["ti"].run_id
