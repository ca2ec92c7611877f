"""The section [pushgate]: what it may say, and the errors for what is written wrong."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.configuration import AirflowConfigParser

from pushgate import SettingsError
from pushgate_airflow import PushgatewayHook, PushgatewayNotifier, listener

MISSED = {
    "dag_run": {"dag_id": "etl", "dag_run_id": "r"},
    "deadline": {"deadline_time": "2026-01-01T01:00:00Z"},
}


def reported(pushgateway, *names):
    """Those of the DAGs and ``dag.task`` that the listener in a scheduler reports."""
    for name in names:
        dag_id, _, task_id = name.partition(".")
        values = {"_sa_instance_state": None, "dag_id": dag_id, "run_id": "r"}
        if task_id:
            listener.on_task_instance_failed(SimpleNamespace(**values, task_id=task_id))
        else:
            listener.on_dag_run_running(SimpleNamespace(**values))
    listener.before_stopping(SimpleNamespace(job_type="SchedulerJob"))
    found = [{**g.labels} for g in pushgateway.groups()]
    return {".".join(filter(None, (g["dag_id"], g.get("task_id")))) for g in found}


def test_values_are_read_as_people_write_them(configure, gateway_url, pushgateway):
    configure(
        job="prod",
        deadline="1.5s",
        listener="on",
        listener_allow="etl_*, billing.load\nreports",
        listener_deny="*.heartbeat",
        test_runs="yes",
    )
    PushgatewayNotifier()(MISSED)
    pushgateway.assert_pushed("batch_job_last_deadline_missed_timestamp_seconds", job="prod")
    pushgateway.clear()
    names = ("etl_a", "etl_a.heartbeat", "billing", "billing.load", "reports", "other")
    assert reported(pushgateway, *names) == {"etl_a", "billing.load", "reports"}


def test_a_pattern_of_a_dag_is_one_of_its_tasks_and_what_is_denied_stays_denied(
    configure, gateway_url, pushgateway
):
    configure(listener=True, listener_allow="etl, reports.*", listener_deny="etl.secret_*")
    names = ("etl", "etl.load", "etl.secret_load", "etl_sub", "reports", "reports.daily")
    assert reported(pushgateway, *names) == {"etl", "etl.load", "reports.daily"}


def test_what_is_empty_has_its_default(configure, gateway_url, pushgateway):
    configure(job="", listener=" ")
    assert reported(pushgateway, "etl", "etl.load") == set()
    PushgatewayNotifier()(MISSED)
    assert pushgateway.groups(job="airflow")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gateway": "ftp://me:s3cret-word@host"}, ("http://",)),
        ({"deadline": "soon"}, ("'soon'", "90s")),
        ({"deadline": "0"}, ("above 0",)),
        ({"outbox": "outbox"}, ("absolute path", "off")),
        ({"deadline": "20"}, ("task_success_overtime", "20 s")),
        ({"listener": "maybe"}, ("'maybe'", "true")),
        ({"listener_allow": "etl  # default: *"}, ("'#'", "a line of its own")),
        ({"listener_deny": "etl; reports"}, ("'etl;'", "no id")),
        ({"listner": "True"}, ("no such option", "did you mean 'listener'?")),
    ],
)
def test_an_unfit_value_is_refused_with_its_names_and_no_secret(configure, options, words):
    configure(**options)
    with pytest.raises(SettingsError) as raised:
        PushgatewayHook().get_conn()
    (name,) = options
    for word in (f"[pushgate] {name} (AIRFLOW__PUSHGATE__{name.upper()}): ", *words):
        assert word in str(raised.value)
    assert "s3cret-word" not in str(raised.value)


def test_a_deadline_may_be_longer_where_airflow_waits_longer(configure, gateway_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME", "60")
    configure(deadline="20")
    assert PushgatewayHook().get_conn().url == gateway_url


def test_the_gateway_may_come_from_a_command_as_airflows_own_secrets_do(configure, monkeypatch):
    monkeypatch.setenv("AIRFLOW__PUSHGATE__GATEWAY_CMD", "echo http://me:s3cret-word@host:9091")
    configure()
    assert repr(PushgatewayHook().get_conn()) == "Gateway('http://host:9091')"


def test_the_example_on_the_listeners_page_is_a_configuration(configure, pushgateway):
    page = (Path(__file__).parents[3] / "docs/airflow/listener.md").read_text("utf-8")
    (example,) = re.findall(r"^```ini\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    conf = AirflowConfigParser()
    conf.read_string(example)  # as it reads airflow.cfg
    configure(**conf["pushgate"])
    assert PushgatewayHook().get_conn().url == "http://pushgateway.example:9091"
    configure(gateway=pushgateway.url)
    assert reported(pushgateway, "etl", "etl.secret_a", "reports.x") == {"etl", "reports.x"}
