"""The gateway to push to: that of an Airflow connection, or the configured one.

Looking a connection up asks the metadata database or the task's supervisor. In a scheduler's main
thread it keeps a run queued for ever, so a scheduler uses :func:`configured_gateway`.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pushgate import OptionSource, Settings, SettingsError, did_you_mean
from pushgate_airflow import version_compat
from pushgate_airflow._configuration import configuration, label
from pushgate_airflow.get_provider_info import CONN_TYPE, FIELDS

if TYPE_CHECKING:
    from pushgate import Gateway, Outbox

# The variables that say where the outbox is. Others may be set wrongly: where the gateway comes
# from a connection, they are of no use.
_OUTBOX_VARIABLES = ("PUSHGATE_OUTBOX", "PUSHGATE_CONFIG", "XDG_CONFIG_HOME", "HOME")


def gateway(conn_id: str | None = None, *, keeping: bool = False) -> Gateway:
    """The gateway of the connection ``conn_id``, or the configured one.

    None and the configured connection's id mean: the URL in ``[pushgate] gateway``, else that
    connection, else pushgate's own settings (``PUSHGATE_*`` and its file). ``keeping``: with this
    host's outbox, for what can't be delivered.

    Raises SettingsError for settings that can't be used, AirflowNotFoundException for a named
    connection that does not exist.
    """
    name = conn_id or configuration().conn_id
    settings = _configured(name)
    if settings is None:
        try:
            settings = connection_settings(version_compat.BaseHook.get_connection(name))
        except version_compat.AirflowNotFoundException:
            if name != configuration().conn_id:
                raise
            settings = _own_settings()
    return settings.to_gateway(outbox() if keeping else None)


def configured_gateway() -> Gateway:
    """The gateway of ``[pushgate] gateway`` or of pushgate's own settings, with the outbox.

    No connection is looked up. Raises SettingsError where no gateway is set.
    """
    settings = _configured(configuration().conn_id)
    return (settings or _own_settings()).to_gateway(outbox())


def is_gateway_configured() -> bool:
    """Whether :func:`configured_gateway` has one, as in every component of this Airflow."""
    try:
        return bool(configuration().gateway or Settings.load({}, os.environ).gateway)
    except SettingsError:
        return False


def gateway_at(url: str) -> Gateway:
    """The gateway at ``url``, with what else pushgate's own settings say, and the outbox.

    Raises SettingsError for settings that can't be used.
    """
    return _settings_at(url, "gateway=").to_gateway(outbox())


def outbox() -> Outbox | None:
    """This host's outbox: that of ``[pushgate] outbox``, else that of pushgate's own settings.

    A connection never says where it is: people who may edit one could have files written anywhere.
    None where it is switched off or has no place, with a warning where settings are at fault: a
    push must not fail because nothing can be kept.
    """
    chosen = OptionSource({"outbox": configuration().outbox}, label)
    environ = {name: os.environ[name] for name in _OUTBOX_VARIABLES if name in os.environ}
    try:
        return Settings.load(chosen, environ).to_outbox()
    except SettingsError as error:
        logging.getLogger("pushgate").warning("nothing is kept during an outage: %s", error)
        return None


def connection_settings(connection: Any) -> Settings:
    """The settings in an Airflow connection. An empty field or extra counts as not set.

    Raises SettingsError, which names the connection and the field and never a secret.
    """
    where = f"the connection {connection.conn_id!r}"
    try:
        values = {
            "gateway": _url(connection),
            "username": connection.login or None,
            "password": connection.password or None,
            **_extras(connection.extra),
        }
        _refuse_files(values)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
    fields = {"gateway": "host", "username": "login", "password": "password"}
    named = OptionSource(
        values, lambda name: f"{fields.get(name, f'extra {name!r}')} of {where}", reads_files=False
    )
    return Settings.read(named)


def _configured(name: str) -> Settings | None:
    options = configuration()
    if options.gateway is None or name != options.conn_id:
        return None
    return _settings_at(options.gateway, label("gateway"))


def _settings_at(url: str, where: str) -> Settings:
    return Settings.load(OptionSource({"gateway": url}, where), os.environ)


def _own_settings() -> Settings:
    settings = Settings.load({}, os.environ)
    if settings.gateway is None:
        raise SettingsError(
            "no gateway is configured: set AIRFLOW__PUSHGATE__GATEWAY or PUSHGATE_GATEWAY to its"
            f" URL, or (but for the scheduler's listener) add the connection"
            f" {configuration().conn_id!r} of type {CONN_TYPE}"
        )
    return settings


def _url(connection: Any) -> str:
    host = (connection.host or "").strip()
    if not host:
        raise ValueError("there is no host; give the gateway's host name, or its whole URL")
    if "@" in host:
        raise ValueError(
            "the host holds a user name or password, which everybody who sees the connection can"
            " read; move them to login and password"
        )
    scheme = _scheme(connection)
    given, separator, rest = host.partition("://")
    if not separator:
        bare = host.count(":") > 1 and not host.startswith("[")  # an IPv6 address
        given, rest = scheme or "http", f"[{host}]" if bare else host
    elif scheme and scheme != given.lower():
        raise ValueError(f"the schema is {scheme!r}, but the host begins with {given!r}; clear one")
    url = f"{given}://{rest}"
    if not connection.port:
        return url
    parts, port = urlsplit(url), int(connection.port)
    if parts.port not in (None, port):
        raise ValueError(f"the port is {port}, but the host says {parts.port}; clear one")
    netloc = parts.netloc.removesuffix(":")
    return url if parts.port else parts._replace(netloc=f"{netloc}:{port}").geturl()


def _scheme(connection: Any) -> str | None:
    """http or https. Airflow takes that of the URI ``https://host:9091`` for the type."""
    scheme = (connection.schema or "").lower() or None
    if scheme is None and connection.conn_type in ("http", "https"):
        return str(connection.conn_type)
    if scheme not in (None, "http", "https"):
        raise ValueError(
            f"the schema is {scheme!r}; it is http or https, and a path goes into the host, as in"
            " https://example.com/pushgateway (in a connection's URI, Airflow takes what follows"
            " the host for the schema: give the connection as JSON)"
        )
    return scheme


def _extras(text: str | None) -> dict[str, Any]:
    extras = _object(text or "{}", 'the extra is no JSON object; write it as {"timeout": 3}')
    for name in extras:
        if name not in FIELDS:
            raise ValueError(f"there is no extra {name!r}{did_you_mean(name, FIELDS)}")
    given = {name: value for name, value in extras.items() if value not in (None, "", {})}
    if "headers" in given and isinstance(given["headers"], str):  # all that a URI can hold
        example = '{"X-Scope-OrgID": "batch"}'
        given["headers"] = _object(given["headers"], f"extra 'headers': give an object, {example}")
    return given


def _object(text: str, error: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ValueError(error)
    return document


def _refuse_files(values: dict[str, Any]) -> None:
    """People who may edit a connection could have any file of a worker sent to their own host."""
    headers = values.get("headers")
    texts = [*values.values(), *(headers.values() if isinstance(headers, dict) else ())]
    if any(isinstance(text, str) and text.startswith("file:") for text in texts):
        raise ValueError("file:/path is not read in a connection; give the secret itself")
