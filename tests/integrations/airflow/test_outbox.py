"""Where an outage's reports wait, and who delivers them. tests/contract has what else it may do."""

from __future__ import annotations

import pytest

from pushgate import Gateway, Outbox
from pushgate.embedded import EmbeddedGateway
from pushgate_airflow import PushgatewayHook, PushgatewayNotifier
from pushgate_airflow._gateway_lookup import gateway, outbox
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
    """Where this host's reports wait."""
    path = tmp_path / "outbox"
    configure(gateway=server.url, outbox=path, deadline=0.6)
    return path


def held(server, metric, **labels):
    """The metric's value in the group of exactly these labels, beside the job."""
    wanted = {"job": "airflow", **labels}
    found = [group for group in Gateway(server.url).groups() if group.labels == wanted]
    return found[0].value(metric) if found else None


def waiting(path):
    return sorted(sorted(group.labels.items()) for group in Outbox(path).waiting())


def test_after_an_outage_a_task_brings_what_those_before_it_could_not(path, server, run_dag):
    labels = {"dag_id": "retries", "task_id": "load"}
    own = {**labels, "origin": "job"}
    server.stop()
    assert run_dag("retries").state == "success"
    assert waiting(path) == sorted(
        sorted({"job": "airflow", **group}.items()) for group in (labels, own)
    )
    server.start()
    run_dag("succeeds")

    assert held(server, RETRY, **labels) < held(server, SUCCESS, **labels)
    assert held(server, RUN_SUCCESS, **labels) == 1
    assert held(server, "rows_loaded", **own) == 2
    assert held(server, RUN_SUCCESS, dag_id="succeeds", task_id="load") == 1
    assert waiting(path) == []


def test_switched_off_nothing_is_kept(path, server, configure, run_dag, caplog):
    configure(outbox="off")
    server.stop()
    run_dag("retries")
    assert not path.exists()
    assert "outbox" not in caplog.text


def test_where_nothing_can_be_kept_the_run_is_as_it_was_and_the_log_says_why(
    path, server, configure, run_dag, caplog, tmp_path
):
    (tmp_path / "a file").write_text("")
    configure(outbox=tmp_path / "a file" / "outbox")
    server.stop()
    run = run_dag("retries")
    assert run.state == "success"
    assert "a file/outbox" in caplog.text
    assert "will be delivered later" not in caplog.text


def test_an_operator_fails_and_leaves_nothing_behind(path, server, run_dag):
    server.stop()
    assert run_dag("operator_fails", run_conf={"metrics": {"m": 1}}).state == "failed"
    with pytest.raises(OSError, match="refused"):
        PushgatewayHook().get_conn().push("job", [], clear=True)
    assert not path.exists()


def test_the_host_says_where_its_outbox_is_and_never_a_connection(configure, monkeypatch, tmp_path):
    connection = '{"conn_type": "pushgateway", "host": "http://h", "extra": {"outbox": "/etc/x"}}'
    monkeypatch.setenv("AIRFLOW_CONN_PUSHGATEWAY_DEFAULT", connection)
    with pytest.raises(ValueError, match="outbox"):
        gateway(keeping=True)
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))
    assert outbox().path.startswith(str(tmp_path / "state" / "outbox"))
    monkeypatch.setenv("PUSHGATE_OUTBOX", str(tmp_path / "own"))
    assert outbox().path == str(tmp_path / "own")
    configure(outbox=tmp_path / "airflows")
    assert outbox().path == str(tmp_path / "airflows")
    monkeypatch.setenv("PUSHGATE_OUTBOX", "off")
    assert outbox().path == str(tmp_path / "airflows")
    configure(outbox=None)
    assert outbox() is None


def test_a_notifier_with_a_gateway_of_its_own_keeps_what_is_for_that(path):
    with FaultServer(hang) as other:
        context = {
            "dag_run": {"dag_id": "etl", "dag_run_id": "r"},
            "deadline": {"id": "d", "deadline_time": "2026-01-01T01:00:00Z"},
        }
        PushgatewayNotifier(gateway=other.url, deadline=0.5)(context)
        assert [group.url for group in Outbox(path).waiting()] == [other.url]
