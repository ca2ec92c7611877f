"""Where an outage's reports wait. tests/contract has how they are kept and delivered."""

import pytest

from pushgate.embedded import EmbeddedGateway
from pushgate_airflow import PushgatewayHook, PushgatewayNotifier, PushMetricsOperator

MISSED = {
    "dag_run": {"dag_id": "etl", "dag_run_id": "r"},
    "deadline": {"id": "d", "deadline_time": "2026-01-01T01:00:00Z"},
}


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


def test_an_operator_fails_and_leaves_nothing_behind(path, server, monkeypatch):
    monkeypatch.setenv("PUSHGATE_RETRIES", "0")
    server.stop()
    task = PushMetricsOperator(task_id="push", metrics={"m": 1}, grouping_key={})
    for push in (lambda: task.execute({}), lambda: PushgatewayHook().get_conn().pushadd("job", [])):
        with pytest.raises(OSError, match="refused"):
            push()
    assert not path.exists()


@pytest.mark.parametrize(
    ("own", "airflows", "place"),
    [
        (None, None, "state/outbox"),
        ("own", None, "own"),
        ("own", "airflows", "airflows"),
        ("off", "airflows", "airflows"),
        ("off", None, None),
        ("own", "off", None),
    ],
)
def test_the_host_says_where_its_outbox_is(
    own, airflows, place, path, server, configure, monkeypatch, tmp_path, caplog
):
    def named(name):
        return name and (name if name == "off" else tmp_path / name)

    server.stop()
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))
    if own:
        monkeypatch.setenv("PUSHGATE_OUTBOX", str(named(own)))
    configure(outbox=named(airflows))
    PushgatewayNotifier()(MISSED)
    assert "the push of deadline_missed for etl failed" in caplog.text
    found = [p for p in ("state/outbox", "own", "airflows") if (tmp_path / p).exists()]
    assert found == ([place] if place else [])


def test_a_connection_never_says_where_the_outbox_is(configure, monkeypatch):
    connection = '{"conn_type": "pushgateway", "host": "http://h", "extra": {"outbox": "/etc/x"}}'
    monkeypatch.setenv("AIRFLOW_CONN_PUSHGATEWAY_DEFAULT", connection)
    configure(gateway=None)
    with pytest.raises(ValueError, match="outbox"):
        PushgatewayHook().get_conn()
