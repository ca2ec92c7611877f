"""The listener in whole runs, on the database's objects, and where it must not be noticed."""

import logging
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pushgate import Gateway, GroupingKey, Outbox, gauge
from pushgate_airflow import listener
from support.fault_proxy import fault_proxy

SCHEDULER = SimpleNamespace(job_type="SchedulerJob")
RUN_SUCCESS = "batch_job_last_run_success"
TIME = "_timestamp_seconds"


@pytest.fixture
def proxy(configure, pushgateway, tmp_path):
    """A proxy in front of the gateway, to which the listener pushes."""
    with fault_proxy(int(pushgateway.url.rpartition(":")[2])) as proxy:
        configure(gateway=proxy.url, listener=True, outbox=tmp_path / "outbox")
        yield proxy


@pytest.fixture(autouse=True)
def _ended(configure):
    yield
    delivered()


@pytest.fixture
def listening(proxy):
    """The listener in both of Airflow's managers, as its plugin would be, for ``dag.test()``."""
    from airflow.listeners.listener import get_listener_manager as of_the_core
    from airflow.sdk.listener import get_listener_manager as of_a_task

    managers = of_the_core(), of_a_task()
    for manager in managers:
        manager.add_listener(listener)
    yield proxy
    for manager in managers:
        manager.pm.unregister(listener)


def delivered():
    """Push all that waits, as at a scheduler's end."""
    listener.before_stopping(SCHEDULER)


def times_pushed(proxy, **labels):
    """Of each push to the task's outcome, or to the run's, the times that it tells."""
    labels = {"job": "airflow", **labels}
    return [
        {
            line.split(" ")[0].removeprefix("batch_job_last_").removesuffix(TIME)
            for line in push.body.splitlines()
            if line.startswith("batch_job_last_") and f"{TIME} " in line
        }
        for push in proxy.took
        if push.labels == labels
    ]


@contextmanager
def stored(run):
    """The run as a scheduler has it, in a session; ``dag.test()`` has one without."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        yield session.scalar(select(DagRun).where(DagRun.run_id == run.run_id)), session
        session.rollback()


@pytest.fixture(scope="module")
def observed(dags):
    """A run without a listener."""
    return dags["observed"].test()


@pytest.fixture
def stored_run(observed):
    """It, in a session, with the session."""
    with stored(observed) as both:
        yield both


# Whole runs.


def pushed_of(tasks, proxy):
    return {task: times_pushed(proxy, dag_id="observed", task_id=task) for task in tasks}


def test_a_whole_run_is_pushed_once_and_what_no_worker_saw_at_its_end(
    listening, run_dag, pushgateway
):
    start, success = {"start"}, {"start", "completion", "success"}
    failure = {"start", "completion", "failure"}
    expected = {
        "loads": [start, success],
        "fails": [start, failure],
        "after_a_failure": [],
        "tries_again": [start, {"start", "retry"}, start, success],
        "skips_itself": [start, {"start", "completion", "skipped"}],
        "chooses": [start, success],
        "chosen": [start, success],
        "not_chosen": [],
        "nothing": [start, success],
        "each_is_well": [start, {"completion"}, start, {"completion"}],
    }
    run = run_dag("observed")
    assert run.state == "failed"
    assert pushed_of(expected, listening) == expected
    pushgateway.assert_pushed("rows_loaded", 42, task_id="loads", origin="job")
    assert len(times_pushed(listening, dag_id="observed", task_id="loads", origin="job")) == 1
    pushgateway.assert_pushed(RUN_SUCCESS, 0, task_id="each")
    for task in ("fails", "each"):
        pushgateway.assert_pushed(
            "batch_job_last_run_info", task_id=task, exception="AirflowException"
        )

    with stored(run) as (run, _):
        listener.on_dag_run_failed(run)
    delivered()
    expected |= {"after_a_failure": [{"upstream_failed"}], "not_chosen": [{"skipped"}]}
    expected["each_is_well"].append({"success"})  # all else is known already
    assert pushed_of(expected, listening) == expected
    assert times_pushed(listening, dag_id="observed")[-1] == failure

    for task, states in {"each": (2, 1), "each_is_well": (2, 0)}.items():
        for state, count in zip(("success", "failed"), states, strict=True):
            pushgateway.assert_pushed(
                "batch_job_last_mapped_runs", count, task_id=task, state=state
            )
        pushgateway.assert_pushed(RUN_SUCCESS, not states[1], task_id=task)
    pushgateway.assert_pushed(
        "batch_job_last_run_info", task_id="each", exception="AirflowException"
    )
    pushgateway.assert_not_pushed(f"batch_job_last_success{TIME}", task_id="each")


# The database's objects.


def test_what_silent_workers_did_is_pushed_at_the_runs_end(proxy, stored_run, pushgateway):
    run, _ = stored_run
    listener.on_dag_run_failed(run)
    delivered()
    states = {
        "loads": "success",
        "fails": "failure",
        "tries_again": "success",
        "after_a_failure": "upstream_failed",
        "not_chosen": "skipped",
        "skips_itself": "skipped",
    }
    for task, state in states.items():
        pushgateway.assert_pushed(f"batch_job_last_{state}{TIME}", task_id=task)
    pushgateway.assert_not_pushed(f"batch_job_last_start{TIME}", task_id="not_chosen")
    pushgateway.assert_pushed("batch_job_last_try_number", 2, task_id="tries_again")
    for task in states:  # their own processes do not know it
        pushgateway.assert_not_pushed("batch_job_last_queue_wait_seconds", task_id=task)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_mark_does_not_overwrite_what_is_newer(proxy, stored_run, pushgateway, seconds):
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    run, session = stored_run
    of_the_run = select(TaskInstance).where(TaskInstance.run_id == run.run_id)
    ti = session.scalars(of_the_run.where(TaskInstance.task_id == "loads")).one()
    at = ti.end_date.timestamp() + seconds
    key = {"dag_id": "observed", "task_id": "loads"}
    Gateway(pushgateway.url).pushadd(
        "airflow",
        [gauge(f"batch_job_last_completion{TIME}", "", at), gauge(RUN_SUCCESS, "", 1)],
        key,
    )
    listener.on_task_instance_failed(ti)
    delivered()
    pushgateway.assert_pushed(f"batch_job_last_failure{TIME}", ti.end_date.timestamp(), **key)
    pushgateway.assert_pushed(RUN_SUCCESS, seconds > 0, **key)


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


def test_a_scheduler_pays_three_queries_for_a_runs_end_and_none_for_else(
    proxy, stored_run, pushgateway
):
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    run, session = stored_run
    of_the_run = select(TaskInstance).where(TaskInstance.run_id == run.run_id)
    ti = session.scalars(of_the_run.where(TaskInstance.task_id == "fails")).one()
    ti.state = "up_for_retry"  # Airflow announces a retry as a failure
    session.flush()
    session.expire(run, ["queued_at"])
    with statements() as seen:
        listener.on_task_instance_failed(ti)
        listener.on_dag_run_running(run)
        assert seen == []
        listener.on_dag_run_failed(run)
    assert Counter(statement.split()[0] for statement in seen) == {"SELECT": 3}
    delivered()
    pushgateway.assert_pushed(f"batch_job_last_retry{TIME}", task_id="fails")


@pytest.mark.parametrize(("msg", "timed_out"), [("timed_out", 1), ("task_failure", 0)])
def test_a_run_says_whether_its_time_limit_ended_it(proxy, stored_run, pushgateway, msg, timed_out):
    listener.on_dag_run_failed(stored_run[0], msg)
    delivered()
    pushgateway.assert_pushed("batch_job_last_timed_out", timed_out, dag_id="observed")


# Where it must not be noticed.


def test_a_scheduler_says_at_its_start_where_it_pushes(configure, caplog, monkeypatch):
    with caplog.at_level(logging.INFO, "pushgate"):
        configure(listener=True, gateway="http://me:s3cret-word@gateway.test:9091")
        listener.on_starting(SCHEDULER)  # a dag-processor, say
        monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
        listener.on_starting(SimpleNamespace())  # a task's process
        assert caplog.messages == []
        listener.on_starting(SCHEDULER)
    (line,) = caplog.messages
    assert "the listener works" in line
    assert "http://gateway.test:9091" in line
    assert "s3cret-word" not in line


def test_a_scheduler_without_a_gateway_says_what_to_set(configure, caplog, monkeypatch):
    """It looks no connection up: in its main thread, that keeps a run queued for ever."""
    monkeypatch.setenv("AIRFLOW_CONN_PUSHGATEWAY_DEFAULT", "http://gateway.test:9091")
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    configure(listener=True, gateway=None)
    listener.on_starting(SCHEDULER)
    (line,) = caplog.messages
    assert "AIRFLOW__PUSHGATE__GATEWAY" in line


def test_a_hook_never_raises(configure, caplog):
    configure(listener=True)
    hooks = [getattr(listener, name) for name in listener.__all__]
    hooks.remove(listener.before_stopping)
    hooks.remove(listener.on_starting)
    for hook in hooks:
        hook(SimpleNamespace(dag_id="d", task_id="t"))
    assert caplog.text.count("the listener failed") == len(hooks)


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
        assert not entry.load().listeners
        print(*set(sys.modules) - before)
        """
    )
    own = {name for name in imported if name.startswith("pushgate_airflow")}
    assert own <= {
        "pushgate_airflow",
        "pushgate_airflow._configuration",
        "pushgate_airflow.plugin",
        "pushgate_airflow.version_compat",
    }
    assert not set(imported) & {"prometheus_client", "pushgate.gateway", "pushgate.transport"}


def test_the_thread_that_pushes_imports_nothing(airflow_database, pushgateway, tmp_path):
    """A scheduler forks while it works: a child can't use what is half imported."""
    path = tmp_path / "outbox"
    change = ("POST", GroupingKey("left"), b"batch_job_left 1\n", time.time())
    assert Outbox(path).keep(pushgateway.url, [change])
    imported = python(
        """if True:
        import os, sys, threading, time
        from types import SimpleNamespace
        import airflow.jobs.scheduler_job_runner
        from pushgate import Outbox
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session
        from pushgate_airflow import listener

        with create_session() as session:  # as a scheduler does
            session.scalars(DagModel.__table__.select()).all()
        imported = []

        class Finder:
            def find_spec(self, name, *_):
                if threading.current_thread() is not threading.main_thread():
                    imported.append(name)

        sys.meta_path.insert(0, Finder())
        sys.argv = ["airflow", "scheduler"]
        scheduler = SimpleNamespace(job_type="SchedulerJob")
        listener.on_starting(scheduler)
        ti = SimpleNamespace(_sa_instance_state=None, dag_id="d", task_id="t", run_id="r")
        listener.on_task_instance_failed(ti)  # marked, so it is compared with the gateway's groups
        until = time.monotonic() + 20
        while not Outbox(os.environ["AIRFLOW__PUSHGATE__OUTBOX"]).is_empty():
            assert time.monotonic() < until
            time.sleep(0.01)
        listener.before_stopping(scheduler)
        print(*imported)
        """,
        AIRFLOW__PUSHGATE__LISTENER="True",
        AIRFLOW__PUSHGATE__OUTBOX=str(path),
        AIRFLOW__PUSHGATE__GATEWAY=pushgateway.url,
    )
    pushgateway.assert_pushed(RUN_SUCCESS, 0, dag_id="d", task_id="t")
    assert imported == []
