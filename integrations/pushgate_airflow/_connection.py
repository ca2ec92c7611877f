"""Which gateway is meant, and how to reach it.

Enters: the id of an Airflow connection, or none. Leaves: a Gateway, or a SettingsError. Looking a
connection up asks the metadata database or the task's supervisor: in a scheduler's main thread it
keeps a run queued for ever, so there it is called on a thread of its own.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pushgate import Settings, SettingsError
from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection_settings import settings_of
from pushgate_airflow._form import CONN_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pushgate import Gateway

__all__ = ("agateway", "gateway", "gateway_at", "reset")

_KEPT_FOR = 300.0  # seconds: a changed connection reaches a scheduler that runs for months
_known: dict[str, tuple[float, Settings]] = {}


def gateway(conn_id: str | None = None, *, timeout: float | None = None) -> Gateway:
    """The gateway of the connection ``conn_id``, or the configured one.

    None and the configured connection's id mean: the URL in ``[pushgate] gateway``, else that
    connection, else pushgate's own settings (``PUSHGATE_*`` and its file). ``timeout``, in
    seconds, goes before the one in the settings. What was found is kept for five minutes.

    Raises SettingsError for settings that can't be used, Airflow's AirflowNotFoundException for a
    connection that was asked for by name and is not there.
    """
    name = conn_id or configuration().conn_id
    settings = _kept(name)
    if settings is None:
        from pushgate_airflow._airflow import BaseHook

        settings = _configured(name)
        if settings is None:
            with _not_found_is_none(name):
                settings = settings_of(BaseHook.get_connection(name))
        settings = _keep(name, settings or _own_settings())
    return _made(settings, timeout)


async def agateway(conn_id: str | None = None, *, timeout: float | None = None) -> Gateway:
    """As :func:`gateway`, for an event loop such as the triggerer's."""
    name = conn_id or configuration().conn_id
    settings = _kept(name)
    if settings is None:
        from pushgate_airflow._airflow import aget_connection

        settings = _configured(name)
        if settings is None:
            with _not_found_is_none(name):
                settings = settings_of(await aget_connection(name))
        settings = _keep(name, settings or _own_settings())
    return _made(settings, timeout)


def gateway_at(url: str) -> Gateway:
    """The gateway of this URL, with what else pushgate's own settings say.

    Raises SettingsError for settings that can't be used.
    """
    return _at(url).to_gateway()


def reset() -> None:
    """Look everything up anew: for tests."""
    _known.clear()


def _kept(name: str) -> Settings | None:
    expires, settings = _known.get(name, (0.0, None))
    return settings if time.monotonic() < expires else None


def _keep(name: str, settings: Settings) -> Settings:
    _known[name] = (time.monotonic() + _KEPT_FOR, settings)
    return settings


def _made(settings: Settings, timeout: float | None) -> Gateway:
    return settings._replace(timeout=timeout or settings.timeout).to_gateway()


def _configured(name: str) -> Settings | None:
    options = configuration()
    if options.gateway is None or name != options.conn_id:
        return None
    return _at(options.gateway)


def _at(url: str) -> Settings:
    # As a variable, since a URL in a flag may not hold a password; the rest is set there as well.
    return Settings.load({}, {**os.environ, "PUSHGATE_GATEWAY": url})


@contextmanager
def _not_found_is_none(name: str) -> Iterator[None]:
    """Go on where the connection is not defined, if it is the one that nobody has to name."""
    from pushgate_airflow._airflow import AirflowNotFoundException

    try:
        yield
    except AirflowNotFoundException:
        if name != configuration().conn_id:
            raise


def _own_settings() -> Settings:
    settings = Settings.load({}, os.environ)
    if settings.gateway is None:
        raise SettingsError(
            f"no gateway is configured: add the connection {configuration().conn_id!r} of type"
            f" {CONN_TYPE}, or set AIRFLOW__PUSHGATE__GATEWAY or PUSHGATE_GATEWAY to its URL"
        )
    return settings
