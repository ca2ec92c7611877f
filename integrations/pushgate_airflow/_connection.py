"""Which gateway is meant, and how to reach it.

Enters: the id of an Airflow connection, or none. Leaves: a Gateway, or a SettingsError. Looking a
connection up asks the metadata database or the task's supervisor: in a scheduler's main thread it
keeps a run queued for ever, so there it is called on a thread of its own. Which outbox a host has
is never a connection's to say: whoever may edit one could have a file written anywhere.
"""

from __future__ import annotations

import logging
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

    from pushgate import Gateway, Outbox

__all__ = ("agateway", "gateway", "gateway_at", "outbox", "reset")

_KEPT_FOR = 300.0  # seconds: a changed connection reaches a scheduler that runs for months
# What else is set there is either not wanted, or read where the connection is.
_OF_THE_OUTBOX = ("PUSHGATE_OUTBOX", "PUSHGATE_CONFIG", "XDG_CONFIG_HOME", "HOME")
_known: dict[str, tuple[float, Settings]] = {}


def gateway(
    conn_id: str | None = None, *, timeout: float | None = None, keeping: bool = False
) -> Gateway:
    """The gateway of the connection ``conn_id``, or the configured one.

    None and the configured connection's id mean: the URL in ``[pushgate] gateway``, else that
    connection, else pushgate's own settings (``PUSHGATE_*`` and its file). ``timeout``, in
    seconds, goes before the one in the settings. ``keeping``: with this host's outbox, for what
    can't be delivered. What was found is known for five minutes.

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
    return _made(settings, timeout, keeping)


async def agateway(
    conn_id: str | None = None, *, timeout: float | None = None, keeping: bool = False
) -> Gateway:
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
    return _made(settings, timeout, keeping)


def gateway_at(url: str) -> Gateway:
    """The gateway of this URL, with what else pushgate's own settings say, and the outbox.

    Raises SettingsError for settings that can't be used.
    """
    return _made(_at(url), None, True)


def outbox() -> Outbox | None:
    """This host's: the one in ``[pushgate] outbox``, else the one in pushgate's own settings.

    None where it is switched off or there is no place for it, with a warning where settings are at
    fault: what can be delivered must not fail for what can't be kept.
    """
    chosen = configuration().outbox
    environ = {name: os.environ[name] for name in _OF_THE_OUTBOX if name in os.environ}
    if chosen is not None:
        environ["PUSHGATE_OUTBOX"] = chosen
    try:
        return Settings.load({}, environ).to_outbox()
    except SettingsError as error:
        logging.getLogger("pushgate").warning("nothing is kept for an outage: %s", error)
        return None


def reset() -> None:
    """Look everything up anew: for tests."""
    _known.clear()


def _kept(name: str) -> Settings | None:
    expires, settings = _known.get(name, (0.0, None))
    return settings if time.monotonic() < expires else None


def _keep(name: str, settings: Settings) -> Settings:
    _known[name] = (time.monotonic() + _KEPT_FOR, settings)
    return settings


def _made(settings: Settings, timeout: float | None, keeping: bool) -> Gateway:
    settings = settings._replace(timeout=timeout or settings.timeout)
    return settings.to_gateway(outbox() if keeping else None)


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
