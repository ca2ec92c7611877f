"""The section [pushgate]: what it may say, and the errors for what is written wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.configuration import AirflowConfigParser

import pushgate_airflow
from pushgate import SettingsError
from pushgate_airflow._configuration import Configuration, configuration

Configure = Callable[..., None]


def test_what_is_not_set_or_empty_has_its_default(configure: Configure) -> None:
    configure(job="", gateway=" ", test_runs=None)

    assert configuration() == Configuration()


def test_values_are_read_as_people_write_them(configure: Configure) -> None:
    configure(
        gateway="http://gateway.example:9091",
        conn_id="metrics",
        job="prod",
        deadline="1.5s",
        listener="on",
        listener_allow="etl_*, billing.load\nreports",
        listener_deny="*.heartbeat",
        outbox="/var/lib/airflow/outbox",
        test_runs="yes",
    )

    assert configuration() == Configuration(
        gateway="http://gateway.example:9091",
        conn_id="metrics",
        job="prod",
        deadline=1.5,
        listener=True,
        listener_allow=("etl_*", "billing.load", "reports"),
        listener_deny=("*.heartbeat",),
        outbox="/var/lib/airflow/outbox",
        test_runs=True,
    )


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
def test_an_unfit_value_is_refused_with_its_names_and_no_secret(
    configure: Configure, options: dict[str, str], words: tuple[str, ...]
) -> None:
    configure(**options)

    with pytest.raises(SettingsError) as raised:
        configuration()

    (name,) = options
    for word in (f"[pushgate] {name} (AIRFLOW__PUSHGATE__{name.upper()}): ", *words):
        assert word in str(raised.value)
    assert "s3cret-word" not in str(raised.value)


def test_a_deadline_may_be_longer_where_airflow_waits_longer(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME", "60")
    configure(deadline="20")

    assert configuration().deadline == 20


def test_the_gateways_password_is_not_printed(configure: Configure) -> None:
    configure(gateway="http://me:s3cret-word@host:9091")

    assert "s3cret-word" not in repr(configuration())
    assert "http://host:9091" in repr(configuration())


def test_the_gateway_may_come_from_a_command_as_airflows_own_secrets_do(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PUSHGATE__GATEWAY_CMD", "echo http://host:9091")
    configure()

    assert configuration().gateway == "http://host:9091"


def test_the_example_in_the_readme_is_a_configuration(configure: Configure) -> None:
    readme = Path(pushgate_airflow.__file__).with_name("README.md").read_text("utf-8")
    (example,) = re.findall(r"^```ini\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    conf = AirflowConfigParser()
    conf.read_string(example)  # as it reads airflow.cfg
    configure(**conf["pushgate"])

    options = configuration()
    assert options.listener
    assert options.gateway == "http://pushgateway.example:9091"
    assert options.listener_allow == ("etl", "reports.*")
    assert options.listener_deny == ("etl.secret_*",)


@pytest.mark.parametrize(
    ("dag_id", "task_id", "is_selected"),
    [
        ("etl", None, True),
        ("etl", "load", True),
        ("etl", "secret_load", False),
        ("etl.sub", None, False),
        ("reports", None, False),
        ("reports", "daily", True),
    ],
)
def test_a_pattern_of_a_dag_is_one_of_its_tasks_and_what_is_denied_stays_denied(
    configure: Configure, dag_id: str, task_id: str | None, is_selected: bool
) -> None:
    configure(listener=True, listener_allow="etl, reports.*", listener_deny="etl.secret_*")

    assert configuration().selects(dag_id, task_id) == is_selected
