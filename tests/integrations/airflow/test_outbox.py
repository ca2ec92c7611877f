"""Where an outage's reports wait. tests/contract has how they are kept and delivered."""

from __future__ import annotations

import pytest

from pushgate import Outbox
from pushgate.embedded import EmbeddedGateway
from pushgate_airflow import PushgatewayHook, PushgatewayNotifier
from pushgate_airflow._gateway_lookup import gateway, outbox
from support.faults import FaultServer, hang


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


def test_switched_off_nothing_is_kept(path, server, configure, run_dag, caplog):
    configure(outbox="off")
    server.stop()
    run_dag("retries")
    assert not path.exists()
    assert "outbox" not in caplog.text


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
