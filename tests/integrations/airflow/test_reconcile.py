"""What a scheduler deletes, merges and silences, by what its database has."""

import math
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pushgate import Gateway, gauge
from pushgate_airflow import listener
from support.workers import until

SCHEDULER = SimpleNamespace(job_type="SchedulerJob")
INTERVAL = "batch_job_expected_interval_seconds"
FAILED = "batch_job_last_run_success"


@pytest.fixture
def scheduler(configure, gateway_url, monkeypatch):
    """Start a scheduler's listener, which looks at the database at once."""
    configure(listener=True, deadline=1)
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    yield lambda: listener.on_starting(SCHEDULER)
    listener.before_stopping(SCHEDULER)


@pytest.fixture
def push(gateway_url):
    def push(*families, job="airflow", **labels):
        Gateway(gateway_url).push(job, families or [gauge(INTERVAL, "", 60)], labels)

    return push


@contextmanager
def database():
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session


@pytest.fixture
def dag_rows(airflow_database):
    """Have exactly these DAGs in the database: ``dag_rows(a={"is_paused": True})``."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from sqlalchemy import delete, select

    def dag_rows(**rows):
        with database() as session:
            session.execute(delete(DagModel).where(DagModel.dag_id.notin_(before)))
            session.merge(DagBundleModel(name="test"))
            session.flush()
            for dag_id, values in rows.items():
                well = {"is_stale": False, "is_paused": False, "bundle_name": "test"}
                session.add(DagModel(dag_id=dag_id, **well | values))

    with database() as session:
        before = list(session.scalars(select(DagModel.dag_id)))
    yield dag_rows
    dag_rows()


@contextmanager
def ended_run(dag_id, tasks, *, other_run=(), began=None):
    """A run of tasks that has ended, as a scheduler has it. ``other_run``: of one that goes on."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.utils.types import DagRunType

    with database() as session:
        runs = []
        for name, state, ids in (("ended", "success", tasks), ("other", "running", other_run)):
            run = DagRun(dag_id, f"manual__{name}", run_type=DagRunType.MANUAL)
            run.run_after = run.start_date = began or datetime.now(UTC)
            run.state, run.end_date = state, datetime.now(UTC)
            session.add(run)
            session.flush()
            runs.append(run)
            for task_id, map_index in ids:
                task = EmptyOperator(task_id=task_id)
                ti = TaskInstance(task, run_id=run.run_id, map_index=map_index, dag_version_id=None)
                ti.dag_id, ti.state, ti.end_date = dag_id, "success", run.end_date
                session.add(ti)
        session.flush()
        try:
            yield runs[0]
        finally:
            session.rollback()


def test_the_groups_of_tasks_that_the_dag_no_longer_has_are_deleted(
    scheduler, push, pushgateway, dag_rows
):
    dag_rows(shop={})
    push(dag_id="shop", task_id="old")
    push(gauge("rows", "", 1), dag_id="shop", task_id="old", origin="job")
    stay = [
        {"dag_id": "shop", "task_id": "load"},
        {"dag_id": "shop", "task_id": "in_other_run"},
        {"dag_id": "shop", "task_id": "old", "origin": "operator"},
        {"dag_id": "shop", "task_id": "old", "team": "a"},
        {"dag_id": "other", "task_id": "old"},
        {"dag_id": "shop", "task_id": "old", "job": "elsewhere"},
    ]
    for labels in stay:
        push(**labels)
    scheduler()
    with ended_run("shop", [("load", -1)], other_run=[("in_other_run", -1)]) as run:
        push(dag_id="shop", task_id="pushed_since")
        listener.on_dag_run_success(run)
        until(lambda: len(pushgateway.groups(task_id="old", job="airflow")) == 3, "it is deleted")
    for labels in (*stay, {"dag_id": "shop", "task_id": "pushed_since"}):
        assert pushgateway.groups(**labels), labels
    assert not pushgateway.groups(task_id="old", origin="job")


def test_the_own_metrics_of_a_mapped_tasks_instances_are_merged_by_their_labels(
    scheduler, push, pushgateway, dag_rows
):
    dag_rows(shop={})
    task = {"dag_id": "shop", "task_id": "each"}
    for index, table in enumerate(("orders", "users", "lines")):
        rows = [gauge("rows", "Rows.", index, {"table": table}), gauge("last", "", index)]
        push(*rows, **task, origin=f"job[{index}]")
    push(gauge("rows", "", 9, {"table": "gone"}), **task, origin="job")
    scheduler()
    began = datetime.now(UTC) - timedelta(seconds=9)
    with ended_run("shop", [("each", index) for index in range(3)], began=began) as run:
        listener.on_dag_run_success(run)
        until(lambda: not pushgateway.groups(origin="job[2]"), "they are merged")
    for index, table in enumerate(("orders", "users", "lines")):
        pushgateway.assert_pushed("rows", index, table=table, origin="job", **task)
    pushgateway.assert_pushed("last", 2, origin="job", **task)
    pushgateway.assert_not_pushed("rows", table="gone")
    assert len(pushgateway.groups(**task)) == 2


def test_of_a_paused_dag_no_run_is_due_and_its_failure_still_shows(
    scheduler, push, pushgateway, dag_rows
):
    dag_rows(rests={"is_paused": True}, lost={"is_stale": True}, works={})
    for dag_id in ("rests", "lost", "works"):
        push(gauge(INTERVAL, "", 60), gauge(FAILED, "", 0), dag_id=dag_id)
        push(dag_id=dag_id, task_id="load", team="a")
    scheduler()

    def rest():
        found = [g.value(INTERVAL) for d in ("rests", "lost") for g in pushgateway.groups(dag_id=d)]
        return len(found) == 4 and all(map(math.isnan, found))

    until(rest, "no run is due")
    pushgateway.assert_pushed(FAILED, 0, dag_id="rests")
    assert {g.value(INTERVAL) for g in pushgateway.groups(dag_id="works")} == {60}


def test_the_groups_of_a_deleted_dag_are_deleted(scheduler, push, pushgateway, dag_rows):
    long_ago = datetime.now(UTC) - timedelta(days=2)
    dag_rows(shop={}, works={}, lost={"is_stale": True, "last_parsed_time": long_ago})
    for dag_id in ("shop", "works", "lost", "never_seen"):
        push(dag_id=dag_id)
        push(dag_id=dag_id, task_id="load", origin="job")
    scheduler()
    until(lambda: not pushgateway.groups(dag_id="lost"), "what was lost for days goes")
    assert len(pushgateway.groups(dag_id="shop")) == 2
    dag_rows(works={})
    with ended_run("works", [("load", -1)]) as run:
        listener.on_dag_run_success(run)  # it looks again
        until(lambda: not pushgateway.groups(dag_id="shop"), "it is deleted")
    assert pushgateway.groups(dag_id="works", origin="job")
    assert len(pushgateway.groups(dag_id="never_seen")) == 2


def test_a_folder_that_is_gone_deletes_nobodys_groups(
    scheduler, push, pushgateway, dag_rows, caplog
):
    long_ago = datetime.now(UTC) - timedelta(days=2)
    lost = {"is_stale": True, "last_parsed_time": long_ago}
    names = [f"lost_{number}" for number in range(50)]
    dag_rows(**dict.fromkeys(names, lost))
    for dag_id in names:
        push(dag_id=dag_id)
    scheduler()

    def rest():
        return all(math.isnan(g.value(INTERVAL)) for g in pushgateway.groups())

    until(rest, "no run is due")
    assert len(pushgateway.groups()) == 50
    assert "50 DAGs are gone" in caplog.text
