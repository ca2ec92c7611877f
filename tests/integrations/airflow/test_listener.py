"""The listener in whole runs, on the database's objects, and where it must not be noticed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pushgate import Gateway, GroupingKey, Outbox
from pushgate_airflow import _heard, _in_worker, _metrics, listener
from pushgate_airflow._event import Event
from pushgate_airflow._listener_events import run_end, run_event, task_event
from pushgate_airflow._metrics import OwnMetrics
from support.faults import FaultServer, hang

PATIENCE = 20.0  # seconds; what takes longer hangs
START = "last_start_timestamp_seconds"


@pytest.fixture
def listening(configure, gateway_url):
    """The listener on, for ``dag.test()``: in both of Airflow's managers, as a plugin would be."""
    from airflow.listeners.listener import get_listener_manager as of_the_core
    from airflow.sdk.listener import get_listener_manager as of_a_task

    managers = of_the_core(), of_a_task()
    configure(listener=True)
    for manager in managers:
        manager.add_listener(listener)
    yield configure
    for manager in managers:
        manager.pm.unregister(listener)
    delivered()


@pytest.fixture(autouse=True)
def _own_queue(monkeypatch):
    monkeypatch.setattr(_heard, "_queues", {})


def delivered():
    """Wait until all that was heard has been pushed."""
    for queue in _heard._queues.values():
        assert queue.flush(PATIENCE) == 0


@pytest.fixture
def pushes(monkeypatch):
    """For each push, its group's task and what it tells but values."""
    seen = []
    pushadd = Gateway.pushadd

    def recorded(self, job, metrics, *rest, **options):
        metrics = list(metrics)
        times = {m.name.removeprefix("batch_job_last_").removesuffix("_timestamp_seconds")
                 for m in metrics if m.name.endswith("_timestamp_seconds")}  # fmt: skip
        seen.append((job.labels.get("task_id"), *sorted(times)))
        pushadd(self, job, metrics, *rest, **options)

    monkeypatch.setattr(Gateway, "pushadd", recorded)
    return seen


def told(pushes, task_id):
    return [tuple(times) for task, *times in pushes if task == task_id]


@contextmanager
def stored(run):
    """The run as a scheduler has it, in a session; ``dag.test()`` has one without."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        yield session.scalar(select(DagRun).where(DagRun.run_id == run.run_id)), session
        session.rollback()


# Whole runs.


def test_a_whole_run_is_told_once_with_what_no_worker_saw(
    listening, run_dag, pushes, pushgateway, monkeypatch
):
    report_task = _in_worker.report_task
    monkeypatch.setattr(  # as if it had been killed
        _in_worker,
        "report_task",
        lambda ti: None if (ti.task_id, ti.state) == ("loads", "success") else report_task(ti),
    )
    with stored(run_dag("heard")) as (run, _):
        assert run.state == "failed"
        listener.on_dag_run_failed(run)
    delivered()

    success = ("completion", "start", "success")
    assert {task: told(pushes, task) for task, *_ in pushes if task and "each" not in task} == {
        "loads": [("start",), ("completion", "success")],
        "fails": [("start",), ("completion", "failure", "start")],
        "after_a_failure": [("skipped",)],
        "tries_again": [("start",), ("retry", "start"), ("start",), success],
        "skips_itself": [("start",), ("completion", "skipped", "start")],
        "chooses": [("start",), success],
        "chosen": [("start",), success],
        "not_chosen": [("skipped",)],
        "nothing": [("start",), success],
    }
    assert set(told(pushes, None)) == {("completion", "failure", "start")}
    pushgateway.assert_pushed("batch_job_last_run_success", 1, task_id="loads")
    pushgateway.assert_pushed("batch_job_expected_interval_seconds", 3600, task_id="fails")


def test_mapped_tasks_fail_at_once_and_succeed_as_a_whole(listening, run_dag, pushes, pushgateway):
    run = run_dag("heard")
    assert told(pushes, "each_is_well") == [("start",), ("start",)]
    pushgateway.assert_pushed("batch_job_last_run_success", 0, task_id="each")
    with stored(run) as (run, _):
        listener.on_dag_run_failed(run)
    delivered()
    pushgateway.assert_pushed("batch_job_last_run_success", 1, task_id="each_is_well")
    pushgateway.assert_pushed("batch_job_last_run_success", 0, task_id="each")
    pushgateway.assert_pushed("batch_job_last_mapped_runs", 2, task_id="each", state="success")
    pushgateway.assert_pushed("batch_job_last_mapped_runs", 1, task_id="each", state="failed")
    pushgateway.assert_not_pushed("batch_job_last_success_timestamp_seconds", task_id="each")


def test_own_metrics_travel_without_a_callback(listening, run_dag, pushgateway):
    run_dag("heard")
    pushgateway.assert_pushed("rows_loaded", 42, task_id="loads", origin="job")


def test_a_callback_and_the_listener_push_once(listening, run_dag, pushes):
    run_dag("succeeds")
    delivered()
    assert told(pushes, "load") == [("start",), ("completion", "start", "success")]
    assert told(pushes, None) == [("completion", "start", "success")]


def test_only_what_is_selected_is_told(listening, run_dag, pushes):
    listening(listener_allow="heard.*, succeeds", listener_deny="heard.f*")
    run_dag("heard")
    delivered()
    assert told(pushes, "loads")
    assert told(pushes, "fails") == told(pushes, None) == []
    run_dag("succeeds")
    delivered()
    assert told(pushes, None) == [("completion", "start", "success")]


# The database's objects.


@contextmanager
def statements():
    """The SQL that is sent while the block runs, commits included."""
    from airflow import settings
    from sqlalchemy import event

    seen = []

    def executed(_connection, _cursor, statement, *_):
        seen.append(statement)

    def committed(_connection):
        seen.append("COMMIT")

    event.listen(settings.engine, "before_cursor_execute", executed)
    event.listen(settings.engine, "commit", committed)
    try:
        yield seen
    finally:
        event.remove(settings.engine, "before_cursor_execute", executed)
        event.remove(settings.engine, "commit", committed)


@pytest.fixture
def stored_run(run_dag):
    """A run of the DAG ``heard`` in a session, with the session."""
    with stored(run_dag("heard")) as both:
        yield both


def test_a_database_object_is_read_without_a_query(stored_run):
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    run, session = stored_run
    of_the_run = select(TaskInstance).where(TaskInstance.run_id == run.run_id)
    ti = session.scalars(of_the_run.where(TaskInstance.task_id == "fails")).one()
    ti.state = "up_for_retry"
    session.flush()
    session.expire(run, ["queued_at"])
    session.expire(ti, ["queued_dttm"])
    with statements() as seen:
        told_of_run = run_event(run, "failed")
        told_of_task = task_event(ti, "failed")
    assert seen == []
    assert (told_of_run.queued_at, told_of_task.queued_at) == (None, None)
    assert told_of_run.started_at == run.start_date.timestamp()
    assert told_of_run.ended_at == run.end_date.timestamp()
    assert (told_of_task.task_id, told_of_task.state) == ("fails", "up_for_retry")


def test_a_runs_tasks_take_two_queries_and_no_commit(stored_run):
    run, _ = stored_run
    with statements() as seen:
        end = run_end(run)
    assert len(seen) == 2, seen
    assert all(statement.startswith("SELECT") for statement in seen)
    states = {event.task_id: event.state for event in end.tasks}
    assert states["fails"] == "failed"
    assert states["after_a_failure"] == "upstream_failed"
    assert {task.task_id for task in end.mapped} == {"each", "each_is_well"}
    by_task = {event.task_id: event for event in end.tasks}
    assert by_task["not_chosen"].started_at is None, "Airflow gives it one"


def test_of_very_many_tasks_the_failed_ones_come_first(stored_run, monkeypatch):
    monkeypatch.setattr("pushgate_airflow._listener_events.MAX_TASKS", 1)
    end = run_end(stored_run[0])
    assert [event.state for event in end.tasks] == ["failed"]
    assert end.left_out


# Where it must not be noticed.


def test_a_hook_never_raises(configure, caplog):
    configure(listener=True)
    hooks = [getattr(listener, name) for name in listener.__all__]
    with caplog.at_level(logging.WARNING, "pushgate"):
        for hook in hooks:
            hook(SimpleNamespace(dag_id="d", task_id="t", job_type=None))
    assert len(caplog.records) == len(hooks) - 1, "only before_stopping has nothing to do"


def test_the_reports_of_a_task_share_one_deadline(configure, monkeypatch):
    given = []
    configure(listener=True, deadline=6)
    monkeypatch.setattr(_in_worker, "first", lambda *_: True)
    monkeypatch.setattr(_in_worker, "report", lambda *_, deadline, **__: given.append(deadline))
    for state in ("running", "failed"):
        event = Event("d", "t", "r", state)
        monkeypatch.setattr(_in_worker, "event_of", lambda _, event=event: event)
        _in_worker.report_task(SimpleNamespace(get_template_context=dict))
    assert len(given) == 2
    assert sum(given) == pytest.approx(6)


class Broken:
    """A collector of the user's."""

    def __init__(self, event=None):
        self.hold = event

    def describe(self):
        return []

    def collect(self):
        if self.hold is None:
            raise RuntimeError("no numbers")
        self.hold.wait(PATIENCE)
        return []


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("map_index", [-1, 3])
def test_a_collector_that_fails_or_hangs_costs_its_metrics_and_not_the_outcome(
    configure, gateway_url, pushgateway, monkeypatch, caplog, hangs, map_index
):
    configure(listener=True, deadline=1.5)
    event = Event("d", "t", "r", "success", map_index, 1, ended_at=time.time())
    run = OwnMetrics()
    held = threading.Event()
    run.registry.register(Broken(held if hangs else None))
    monkeypatch.setattr(_metrics, "_runs", {("d", "t", "r", map_index, 1): run})
    monkeypatch.setattr(_in_worker, "first", lambda *_: True)
    monkeypatch.setattr(_in_worker, "event_of", lambda _: event)
    began = time.monotonic()
    try:
        _in_worker.report_task(SimpleNamespace(get_template_context=dict))
    finally:
        held.set()

    assert time.monotonic() - began < PATIENCE / 2
    assert ("did not end" if hangs else "no numbers") in caplog.text
    if map_index < 0:  # that of a mapped task is told when the run ends
        pushgateway.assert_pushed("batch_job_last_run_success", 1, dag_id="d", task_id="t")


def test_a_scheduler_does_not_wait_for_a_gateway_that_hangs(configure, monkeypatch):
    with FaultServer(hang) as server:
        configure(listener=True, gateway=server.url, deadline=10)
        run = SimpleNamespace(dag_id="d", run_id="r", start_date=None, end_date=None)
        for _ in range(1000):  # each waiting for the gateway, they would take hours
            listener.on_dag_run_running(run)
        (queue,) = _heard._queues.values()
        assert len(queue._waiting) <= 1


def test_a_forked_process_makes_its_own_queue(configure, monkeypatch):
    configure(listener=True)
    parents = _heard._of_this_process()
    monkeypatch.setattr("os.getpid", lambda: 0)
    assert _heard._of_this_process() is not parents


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, **environment},
    ).stdout.split()


def test_with_the_listener_off_nothing_of_it_is_imported():
    imported = python(
        """if True:
        import airflow.plugins_manager, sys
        from importlib.metadata import entry_points
        before = set(sys.modules)
        (entry,) = entry_points(group="airflow.plugins", name="pushgate")
        plugin = entry.load()
        assert not plugin.listeners and not plugin.global_operator_extra_links
        print(*set(sys.modules) - before)
        """
    )
    heavy = ("prometheus_client", "pushgate.gateway", "pushgate.transport")
    own = {name for name in imported if name.startswith("pushgate_airflow")}
    assert own <= {
        "pushgate_airflow",
        "pushgate_airflow._configuration",
        "pushgate_airflow.plugin",
    }
    assert not set(imported) & set(heavy)


def test_the_queues_thread_imports_nothing(pushgateway, tmp_path):
    """A scheduler forks while the thread works: a child can't use what is half imported."""
    left = GroupingKey("left")
    url, waits = pushgateway.url, Outbox(tmp_path / "outbox")
    assert waits.keep(url, [("POST", left, b"batch_job_left 1\n", time.time())])
    connection = f'{{"conn_type": "pushgateway", "host": "{pushgateway.url}"}}'
    imported = python(
        """if True:
        import sys, time
        from types import SimpleNamespace
        import airflow.jobs.scheduler_job_runner
        from pushgate_airflow import _heard, _queue
        from pushgate_airflow._event import Event
        from pushgate_airflow._listener_events import RunEnd

        before = set()
        run = _queue.Queue._run
        _queue.Queue._run = lambda queue: (before.update(sys.modules), run(queue))
        _heard.run(SimpleNamespace(dag_id="d", run_id="r"), "running")
        (queue,) = _heard._queues.values()
        outbox, until = queue._deliver._outbox, time.monotonic() + 20
        while not outbox.is_empty() and time.monotonic() < until:
            time.sleep(0.01)
        end = RunEnd("d", "r", (Event("d", "t", "r", "failed", ended_at=time.time()),), ())
        queue.put(_queue.Item("end", end))
        assert queue.flush(20) == 0
        print(*set(sys.modules) - before)
        """,
        AIRFLOW__PUSHGATE__LISTENER="True",
        AIRFLOW__PUSHGATE__OUTBOX=waits.path,
        AIRFLOW_CONN_PUSHGATEWAY_DEFAULT=connection,
    )
    pushgateway.assert_pushed("batch_job_left", 1, job="left")
    pushgateway.assert_pushed("batch_job_last_run_success", 0, dag_id="d", task_id="t")
    assert imported == []
