"""The provider's description for Airflow: ``airflow providers``, ``config``, the connection form.

Airflow calls this in every process before it has read its own configuration, so nothing of Airflow
is imported here. The schemas are airflow's ``provider_info.schema.json`` and, for the form,
https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
"""

from __future__ import annotations

from typing import Any

from pushgate_airflow._configuration import SECTION, Configuration

__all__ = ("CONN_TYPE", "FIELDS", "get_provider_info")

CONN_TYPE = "pushgateway"
_NAME = "Prometheus Pushgateway"


def get_provider_info() -> dict[str, Any]:
    """What this package gives Airflow."""
    return {
        "package-name": "pushgate",
        "name": _NAME,
        "description": (
            "The outcome of every task and DAG run in Prometheus, through a"
            " `Pushgateway <https://github.com/prometheus/pushgateway>`__."
        ),
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://github.com/prometheus/pushgateway",
                "tags": ["software"],
            }
        ],
        "hooks": [{"integration-name": _NAME, "python-modules": ["pushgate_airflow.hook"]}],
        "operators": [
            {"integration-name": _NAME, "python-modules": ["pushgate_airflow.operators"]}
        ],
        "notifications": ["pushgate_airflow.notifier.PushgatewayNotifier"],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": "pushgate_airflow.hook.PushgatewayHook",
                "hook-name": _NAME,
                "conn-fields": FIELDS,
                "ui-field-behaviour": _BEHAVIOUR,
            }
        ],
        "plugins": [{"name": "pushgate", "plugin-class": "pushgate_airflow.plugin.PushgatePlugin"}],
        "config": {
            SECTION: {
                "description": "Outcomes of tasks and DAG runs for Prometheus, by pushgate.",
                "options": {name: _option(name, *row) for name, row in _OPTIONS.items()},
            }
        },
    }


def _option(name: str, description: str, example: str | None) -> dict[str, Any]:
    default = Configuration._field_defaults[name]
    kind = {bool: "boolean", float: "float"}.get(type(default), "string")
    if isinstance(default, tuple):
        default = ", ".join(default)
    option: dict[str, Any] = {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": None if default is None else str(default),
    }
    # May hold a password: Airflow then hides it, and reads GATEWAY_CMD and GATEWAY_SECRET as well.
    return {**option, "sensitive": True} if name == "gateway" else option


# Description, example.
_OPTIONS: dict[str, tuple[str, str | None]] = {
    "gateway": (
        "URL of the Pushgateway. Where it is set, the connection is not looked up; a token, TLS"
        " files and headers then come from pushgate's own PUSHGATE_* variables. The scheduler's"
        " listener needs it, or PUSHGATE_GATEWAY: it looks no connection up.",
        "http://pushgateway.example:9091",
    ),
    "conn_id": (
        "Id of the Airflow connection of type pushgateway that is used where none is named.",
        "metrics_gateway",
    ),
    "job": ("Value of the label job in all groups.", "airflow_production"),
    "deadline": (
        "Seconds that all reports of one task's run may take: connection look-up, DNS, TLS and"
        " retries. A gateway that hangs delays a task by this much at most. Must be less than"
        " [core] task_success_overtime.",
        "1.5",
    ),
    "listener": (
        "Report every task and DAG run that the patterns allow, without a change to any DAG.",
        "True",
    ),
    "listener_allow": (
        "What the listener reports: patterns, separated by commas, of dag_id or dag_id.task_id.",
        "etl_*, billing.load",
    ),
    "listener_deny": (
        "What the listener does not report, though it is allowed: patterns as in listener_allow.",
        "test_*, *.heartbeat",
    ),
    "outbox": (
        "Path, on each host, of the outbox, in which reports wait that the gateway did not take;"
        " off keeps nothing. Without it, PUSHGATE_OUTBOX is used, and else a place in the home of"
        " the user whom Airflow runs as, in ~/.local/state/pushgate.",
        "/var/lib/airflow/pushgate-outbox",
    ),
    "test_runs": (
        "Report test runs, too: `airflow tasks test` and `dag.test()`.",
        "True",
    ),
}


def _field(label: str, kind: str, description: str, **schema: object) -> dict[str, Any]:
    typed = {"type": [kind, "null"], **schema}
    return {"label": label, "description": description, "schema": typed}


FIELDS: dict[str, dict[str, Any]] = {
    "token": _field("Bearer token", "string", "Instead of login and password.", format="password"),
    "timeout": _field(
        "Timeout (s)", "number", "For each call, retries included. 10 where empty.", minimum=0
    ),
    "retries": _field(
        "Retries",
        "integer",
        "How often a failure that may pass is tried again. 3 where empty.",
        minimum=0,
        maximum=999,
    ),
    "compression": _field(
        "Compression",
        "string",
        "gzip needs Pushgateway 1.5.0, snappy 1.6.0. None where empty.",
        enum=["gzip", "snappy"],
    ),
    "cafile": _field("CA file", "string", "PEM file of the authorities to trust, on each machine."),
    "certfile": _field("Client certificate", "string", "PEM file, on each machine."),
    "keyfile": _field("Client key", "string", "PEM file; empty if the certificate's holds it."),
    "insecure_skip_verify": _field(
        "Do not verify the server's certificate", "boolean", "For tests only.", default=False
    ),
    "headers": _field("Headers", "object", 'Sent with each request: {"X-Scope-OrgID": "batch"}.'),
    "redirects": _field(
        "Redirects", "integer", "How many to follow. 0 where empty.", minimum=0, maximum=999
    ),
}
"""The extras of a connection, in the order of its form. They are named as pushgate's settings."""

_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": [],
    "relabeling": {"schema": "http or https", "host": "Host or URL"},
    "placeholders": {
        "host": "pushgateway.example, or https://example.com/pushgateway",
        "port": "9091",
        "schema": "http",
        "login": "for basic auth",
        "password": "for basic auth",
    },
}
"""The labels and placeholders of the form's standard fields."""
