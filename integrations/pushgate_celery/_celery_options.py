"""The options of ``install``: from its arguments, the app's configuration, and defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import Gateway, OptionSource, Settings, read_options, readers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "pushgate_"


class Options(NamedTuple):
    """What was asked for, with defaults for the rest; :func:`pushgate_celery.install` explains."""

    job: str = "celery"
    transport: str = "pipe"
    interval: float = 15.0
    task_interval: float = 60.0
    max_series: int = 2000
    on_exit: str = "keep"
    shutdown_timeout: float = 3.0
    linger: float = 10.0
    tasks: tuple[str, ...] | None = None
    stamp_headers: bool = True


def _interval(value: object, _source: OptionSource) -> float:
    if (interval := readers.duration(value)) < 0.05:
        raise ValueError(f"{value!r} is too short; give at least 0.05 seconds")
    return interval


def _gateway(value: object, source: OptionSource) -> object:
    if isinstance(value, (Settings, Gateway)):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} is not a gateway; give a URL or Settings")
    return readers.gateway(value, source)


_TABLE: dict[str, Callable[[Any, OptionSource], Any]] = {
    "gateway": _gateway,
    "job": readers.job,
    "transport": readers.choice("pipe", "inline"),
    "interval": _interval,
    "task_interval": _interval,
    "max_series": readers.count(10, 1_000_000),
    "on_exit": readers.choice("keep", "delete"),
    "shutdown_timeout": readers.duration,
    "linger": readers.duration,
    "tasks": readers.names,
    "stamp_headers": readers.switch,
}


def given_options(arguments: Mapping[str, object]) -> dict[str, Any]:
    """The arguments that are not None, read. Raises SettingsError."""
    return read_options(_TABLE, OptionSource(arguments))[0]


def options_in_configuration(app: Any) -> dict[str, Any]:
    """The options in the app's configuration, as ``pushgate_<option>``. Raises SettingsError.

    With ``config_from_object(…, namespace="CELERY")`` they are CELERY_PUSHGATE_<OPTION> there.
    """
    app.conf.get(PREFIX)  # makes it final: app.conf is another object from then on
    namespace = (getattr(app.conf, "prefix", None) or "").lower()
    values = {name: app.conf.get(PREFIX + name) for name in _TABLE}
    for key in app.conf.without_defaults():
        if not isinstance(key, str):
            continue
        if namespace and key.lower().startswith(namespace + PREFIX):
            values.setdefault(key.lower().removeprefix(namespace + PREFIX))
        elif key.startswith(PREFIX):
            values.setdefault(key.removeprefix(PREFIX))
    return read_options(_TABLE, OptionSource(values, PREFIX + "{name}"))[0]


def gateway_of(
    given: Mapping[str, Any], conf: Mapping[str, Any], environ: Mapping[str, str]
) -> Settings | Gateway | None:
    """The gateway: the argument, the configuration's, or the environment's; None where none is.

    Beside a URL, the environment and pushgate's configuration file give the rest: user, token,
    time-out, …. Raises SettingsError.
    """
    gateway = given.get("gateway", conf.get("gateway"))
    if isinstance(gateway, (Settings, Gateway)):
        return gateway
    label = "{name}" if "gateway" in given else PREFIX + "{name}"
    settings = Settings.load(OptionSource({"gateway": gateway}, label), environ)
    return settings if settings.gateway is not None else None
