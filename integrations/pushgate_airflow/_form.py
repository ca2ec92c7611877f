"""The form of a connection of type ``pushgateway``, said once for all versions of Airflow.

Enters: nothing. Leaves: the fields as Airflow 3.2 and later read them from the provider's
description, and as widgets for the versions before.
https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ("BEHAVIOUR", "CONN_TYPE", "FIELDS", "widgets")

CONN_TYPE = "pushgateway"


def _field(label: str, kind: str, description: str, **schema: object) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], **schema},
    }


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
"""The extras, in the order of the form."""

BEHAVIOUR: dict[str, Any] = {
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


def widgets() -> dict[str, Any]:
    """The fields as WTForms widgets. Airflow puts stand-ins where WTForms is not installed."""
    forms, checks = import_module("wtforms"), import_module("wtforms.validators")
    made: dict[str, Any] = {}
    for name, field in FIELDS.items():
        schema = field["schema"]
        kind = {"boolean": "BooleanField", "integer": "IntegerField"}.get(schema["type"][0])
        if schema.get("format") == "password":
            kind = "PasswordField"
        validators = [checks.Optional()]
        if "enum" in schema:
            validators.append(checks.any_of(schema["enum"]))
        widget = getattr(forms, kind or "StringField")
        made[name] = widget(field["label"], validators=validators, description=field["description"])
    return made
