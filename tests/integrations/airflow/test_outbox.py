"""What a gateway's outage leaves on a host's disk, and how it comes to the gateway later."""

from __future__ import annotations

import atexit
import logging
import time

import pytest

from pushgate import Gateway, Outbox, end_families
from pushgate.embedded import EmbeddedGateway
from pushgate_airflow import PushgatewayHook, PushgatewayNotifier
from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection import gateway, outbox
from pushgate_airflow._delivery import Delivery
from pushgate_airflow._event import Event
from pushgate_airflow._identity import grouping_key
from pushgate_airflow._listener_events import RunEnd
from pushgate_airflow._queue import Item, Queue
from pushgate_airflow._report import job_run, outcome, report
from pushgate_airflow._reports import Heard
from support.faults import FaultServer, hang

RETRY = "batch_job_last_retry_timestamp_seconds"
SUCCESS = "batch_job_last_success_timestamp_seconds"
RUN_SUCCESS = "batch_job_last_run_success"


@pytest.fixture
def server():
    """A gateway that stops and starts again at the same address, with what it held."""
    with EmbeddedGateway() as server:
        yield server


@pytest.fixture
def path(tmp_path, configure, server):
    """The file in which this host's reports wait."""
    path = tmp_path / "outbox.sqlite3"
    configure(gateway=server.url, outbox=path, deadline=0.6)
    return path


def held(server, metric, **labels):
    """The metric's value in the group of exactly these labels, beside the job."""
    wanted = {"job": "airflow", **labels}
    found = [group for group in Gateway(server.url).groups() if group.labels == wanted]
    return found[0].value(metric) if found else None


def waiting(path):
    """For each group that waits, the names of what it lacks."""
    return {
        tuple(v for k, v in sorted(group.labels.items()) if k != "job"): set(group.families)
        for group in Outbox(path).waiting()
    }


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "pushgate"]


# Tasks' processes.


def test_after_an_outage_a_task_brings_what_those_before_it_could_not(path, server, run_dag):
    server.stop()
    run_dag("retries")
    assert held_nothing_yet(path)
    server.start()
    run_dag("succeeds")

    labels = {"dag_id": "retries", "task_id": "load"}
    assert held(server, RETRY, **labels) < held(server, SUCCESS, **labels)
    assert held(server, RUN_SUCCESS, **labels) == 1
    assert held(server, "rows_loaded", **labels, origin="job") == 2
    assert held(server, RUN_SUCCESS, dag_id="succeeds", task_id="load") == 1
    assert waiting(path) == {}


def held_nothing_yet(path):
    return set(waiting(path)) == {("retries", "load"), ("retries", "job", "load")}


def test_what_is_newer_is_not_overwritten_by_what_waited(path, server, run_dag):
    server.stop()
    run_dag("fails")
    server.start()
    elsewhere = Gateway(server.url)  # the next run, on another host
    event = Event("fails", "load", "next", "success", try_number=1, ended_at=time.time())
    key = grouping_key(event)
    elsewhere.pushadd(key, end_families(job_run(event, key), outcome(event)))
    run_dag("succeeds")

    labels = {"dag_id": "fails", "task_id": "load"}
    assert held(server, SUCCESS, **labels) == event.ended_at
    assert held(server, RUN_SUCCESS, **labels) == 1
    assert held(server, "batch_job_last_failure_timestamp_seconds", **labels) < event.ended_at
    assert held(server, "rows_loaded", **labels, origin="job") == 7
    assert waiting(path) == {}


def test_of_a_gateway_that_hangs_outcome_and_own_metrics_are_kept_within_the_deadline(
    configure, path, caplog
):
    event = Event("d", "t", "r", "success", started_at=time.time() - 1, ended_at=time.time())
    with FaultServer(hang) as server:
        configure(gateway=server.url)
        began = time.monotonic()
        error = report(
            event,
            key=grouping_key(event),
            gateway=lambda: gateway(keeping=True),
            deadline=1.0,
            extra=own_metrics,
        )
        assert time.monotonic() - began < 10
    assert error.kept
    assert set(waiting(path)) == {("d", "t"), ("d", "job", "t")}
    (line,) = warnings(caplog)
    assert line.endswith("; it waits in the outbox and will be delivered later")


def own_metrics():
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    Gauge("rows", "", registry=registry).set(1)
    return list(registry.collect())


def test_own_metrics_of_a_mapped_task_are_kept(path, server, monkeypatch):
    from types import SimpleNamespace

    from pushgate_airflow import _in_worker

    event = Event("d", "t", "mapped", "success", 3, 1, ended_at=time.time())
    monkeypatch.setattr(_in_worker, "event_of", lambda _: event)
    monkeypatch.setattr(_in_worker, "families_of", lambda _: own_metrics())
    server.stop()
    _in_worker.report_task(SimpleNamespace(get_template_context=dict))
    assert waiting(path) == {("d", "job", "t"): {"rows"}}


def test_switched_off_nothing_is_kept(path, server, configure, run_dag, caplog):
    configure(outbox="off")
    server.stop()
    run_dag("retries")
    assert not path.exists()
    assert not any("outbox" in line for line in warnings(caplog))


def test_where_nothing_can_be_kept_the_run_is_as_it_was_and_the_log_says_why(
    path, server, configure, run_dag, caplog, tmp_path
):
    (tmp_path / "a file").write_text("")
    configure(outbox=tmp_path / "a file" / "outbox.sqlite3")
    server.stop()
    run = run_dag("retries")
    assert run.state == "success"
    lines = warnings(caplog)
    assert sum("a file/outbox.sqlite3" in line for line in lines) == 1
    assert not any("will be delivered later" in line for line in lines)


def test_an_operator_fails_and_leaves_nothing_behind(path, server, run_dag):
    server.stop()
    assert run_dag("operator_fails", run_conf={"metrics": {"m": 1}}).state == "failed"
    with pytest.raises(OSError, match="refused"):
        PushgatewayHook().get_conn().push("job", [], clear=True)
    assert not path.exists()


def test_the_host_says_where_its_outbox_is_and_never_a_connection(configure, monkeypatch, tmp_path):
    url = "http://pushgateway.test"
    connection = '{"conn_type": "pushgateway", "host": "%s", "extra": {"outbox": "/etc/x"}}'
    monkeypatch.setenv("AIRFLOW_CONN_PUSHGATEWAY_DEFAULT", connection % url)
    with pytest.raises(ValueError, match="outbox"):
        gateway(keeping=True)
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))
    assert outbox().path == str(tmp_path / "state" / "outbox.sqlite3")
    monkeypatch.setenv("PUSHGATE_OUTBOX", str(tmp_path / "own"))
    assert outbox().path == str(tmp_path / "own")
    configure(outbox=tmp_path / "airflows")
    assert outbox().path == str(tmp_path / "airflows")
    monkeypatch.setenv("PUSHGATE_OUTBOX", "off")
    assert outbox().path == str(tmp_path / "airflows")
    configure(outbox=None)
    assert outbox() is None


def test_a_notifier_with_a_gateway_of_its_own_keeps_what_is_for_that(path, configure):
    from airflow.sdk import SyncCallback  # noqa: F401 - loads what a deadline's context needs

    with FaultServer(hang) as other:
        context = {
            "dag_run": {"dag_id": "etl", "dag_run_id": "r"},
            "deadline": {"id": "d", "deadline_time": "2026-01-01T01:00:00Z"},
        }
        PushgatewayNotifier(gateway=other.url, deadline=0.5)(context)
        assert [group.url for group in Outbox(path).waiting()] == [other.url]


# A scheduler.

NOW = time.time()
FAILED = Event("etl", "load", "r", "failed", try_number=1, started_at=NOW - 60, ended_at=NOW - 5)


def heard(event):
    return Item((event.dag_id, event.task_id, event.state), Heard(event))


@pytest.fixture
def started(configure):
    """A scheduler's queue and its delivery, as they are made there."""
    configure(listener=True)
    queues = []

    def started(url):
        delivery = Delivery(configuration(), lambda: Gateway(url, retries=0), outbox())
        queues.append(Queue(delivery, size=100, patience=4.0, keep=delivery.keep))
        return queues[-1]

    yield started
    for queue in queues:
        atexit.unregister(queue.stop)


def test_what_a_stopped_scheduler_could_not_deliver_the_next_one_does(
    path, server, started, caplog
):
    run = Event("etl", None, "r", "failed", started_at=NOW - 70, ended_at=NOW - 3)
    url = server.url
    server.stop()
    queue = started(url)
    queue.put(heard(run))
    queue.put(Item("end", RunEnd("etl", "r", (FAILED,), ())), delay=3600)
    with caplog.at_level(logging.WARNING, "pushgate"):
        queue.stop()
    assert set(waiting(path)) == {("etl",), ("etl", "load")}
    assert any("2 reports wait in the outbox" in line for line in warnings(caplog))
    assert not any("lost" in line for line in warnings(caplog))

    server.start()
    queue = started(url)
    later = Event("other", None, "r", "running", started_at=time.time())
    queue.put(heard(later))
    while waiting(path):
        time.sleep(0.01)
    failure = "batch_job_last_failure_timestamp_seconds"
    assert held(server, failure, dag_id="etl") == NOW - 3
    assert held(server, failure, dag_id="etl", task_id="load") == NOW - 5
    assert held(server, RUN_SUCCESS, dag_id="etl") == 0


def test_what_a_worker_told_meanwhile_stays(path, server, started):
    url = server.url
    server.stop()
    queue = started(url)
    queue.put(heard(FAILED))
    queue.stop()
    server.start()
    newer = FAILED._replace(state="success", started_at=NOW, ended_at=NOW + 5)
    key = grouping_key(newer)
    Gateway(server.url).pushadd(key, end_families(job_run(newer, key), outcome(newer)))
    queue = started(url)
    queue.put(heard(Event("other", None, "r", "running", started_at=time.time())))
    while waiting(path):
        time.sleep(0.01)
    assert held(server, RUN_SUCCESS, dag_id="etl", task_id="load") == 1
    assert held(server, SUCCESS, dag_id="etl", task_id="load") == NOW + 5


def test_a_scheduler_that_is_stopped_while_the_gateway_hangs_keeps_what_it_knows(
    path, configure, started
):
    with FaultServer(hang) as server:
        configure(gateway=server.url)
        queue = started(server.url)
        queue._patience = 0.5
        queue.put(heard(FAILED))
        queue.stop()
        assert set(waiting(path)) == {("etl", "load")}
        assert [group.since for group in Outbox(path).waiting()] == [pytest.approx(NOW - 5)]
