"""The provider's description for Airflow: ``airflow providers``, ``config``, the connection form.

Enters: nothing. Leaves: a dict after airflow's provider_info.schema.json. Airflow calls this in
every process before it has read its own configuration, so nothing of Airflow is imported here.
"""

from __future__ import annotations

from typing import Any

from pushgate_airflow._configuration import SECTION, Configuration
from pushgate_airflow._form import BEHAVIOUR, CONN_TYPE, FIELDS

__all__ = ("get_provider_info",)

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
        "hooks": [_modules("pushgate_airflow.hook")],
        "operators": [_modules("pushgate_airflow.operators", "pushgate_airflow.prune_operator")],
        "notifications": ["pushgate_airflow.notifier.PushgatewayNotifier"],
        "extra-links": ["pushgate_airflow.links.GroupLink"],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": "pushgate_airflow.hook.PushgatewayHook",
                "hook-name": _NAME,
                "conn-fields": FIELDS,
                "ui-field-behaviour": BEHAVIOUR,
            }
        ],
        "plugins": [{"name": "pushgate", "plugin-class": "pushgate_airflow.plugin.PushgatePlugin"}],
        "config": {
            SECTION: {
                "description": "Outcomes of tasks and DAG runs for Prometheus, by pushgate.",
                "options": {name: _option(name) for name in _OPTIONS},
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": list(names)}


def _option(name: str) -> dict[str, Any]:
    kind, description, example = _OPTIONS[name]
    default = Configuration._field_defaults[name]
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


_OPTIONS: dict[str, tuple[str, str, str | None]] = {
    "gateway": (
        "string",
        "URL of the Pushgateway. Where it is set, the connection is not looked up; what else a"
        " connection says then comes from pushgate's own PUSHGATE_* variables.",
        "http://pushgateway.example:9091",
    ),
    "conn_id": (
        "string",
        "Id of the Airflow connection of type pushgateway that is used where none is named.",
        "metrics_gateway",
    ),
    "job": ("string", "Value of the label job in all groups.", "airflow_production"),
    "deadline": (
        "string",
        "Seconds that a report may take in all: connection look-up, DNS, TLS and retries. It is how"
        " long a gateway that hangs delays a task's end at most. Must be less than [core]"
        " task_success_overtime.",
        "1.5",
    ),
    "listener": (
        "boolean",
        "Report every task and DAG run that the patterns allow, without a change to any DAG.",
        "True",
    ),
    "listener_allow": (
        "string",
        "What the listener reports: patterns, separated by commas, of dag_id or dag_id.task_id.",
        "etl_*, billing.load",
    ),
    "listener_deny": (
        "string",
        "What the listener does not report, though it is allowed: patterns as in listener_allow.",
        "test_*, *.heartbeat",
    ),
    "listener_tasks": ("boolean", "Whether the listener reports tasks.", None),
    "listener_runs": ("boolean", "Whether the listener reports DAG runs.", None),
    "queue_size": (
        "integer",
        "How many reports the scheduler or api-server keeps while the gateway does not answer."
        " From the half on they go to the outbox; without one, what is too much is dropped and"
        " counted.",
        "1000",
    ),
    "outbox": (
        "string",
        "Path of the file, on each host, in which reports wait that the gateway did not take; off"
        " keeps nothing. Without it, pushgate's own PUSHGATE_OUTBOX says, and else it is in the"
        " home of the user whom Airflow runs as: ~/.local/state/pushgate/outbox.sqlite3.",
        "/var/lib/airflow/pushgate-outbox.sqlite3",
    ),
    "ui_url": (
        "string",
        "Address of the Pushgateway's page for people, to which tasks link. Without it they link to"
        " gateway where the listener is on and gateway is set, and else not at all.",
        "https://pushgateway.example",
    ),
}
