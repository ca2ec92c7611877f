"""The adapter's options: from the arguments of ``install``, the app's configuration, defaults.

Values as people write them enter; a frozen :class:`Options` and the gateway's Settings leave, or a
SettingsError that names the option and where it came from.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import Gateway, GroupingKey, Settings, SettingsError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ("Options", "checked", "from_conf", "gateway_of", "seconds")

PREFIX = "pushgate_"


class Options(NamedTuple):
    """What was asked for, with defaults for the rest; :func:`pushgate_celery.install` explains."""

    job: str = "celery"
    transport: str = "pipe"
    interval: float = 15.0
    max_series: int = 2000
    on_exit: str = "keep"
    shutdown_timeout: float = 3.0
    linger: float = 10.0
    tasks: tuple[str, ...] | None = None
    stamp_headers: bool = True


def seconds(value: object) -> float:
    """A duration: a number of seconds, or text such as ``90s`` or ``15m``. Raises ValueError."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise ValueError(f"{value!r} is no duration; give seconds, or text such as '90s' or '15m'")
    return float(value)


def _interval(value: object) -> float:
    if (interval := seconds(value)) < 0.05:
        raise ValueError(f"{value!r} is too short; give at least 0.05 seconds")
    return interval


def _job(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; give the job label's value")
    GroupingKey(value)
    return value


def _one_of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, allowed))}")
        return str(value)

    return read


def _max_series(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 10:
        raise ValueError(f"{value!r} is no limit; give a whole number from 10 on")
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)):
        raise ValueError(f"{value!r} is one text; give a list of patterns, such as [{value!r}]")
    try:
        patterns = tuple(value)
    except TypeError:
        raise ValueError(f"{value!r} is no list of patterns of task names") from None
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"{value!r} holds more than texts; give patterns of task names")
    return patterns


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither True nor False")
    return value


def _gateway(value: object) -> object:
    if isinstance(value, str):
        Gateway(value)  # raises for what is no URL
    elif not isinstance(value, (Settings, Gateway)):
        raise ValueError(f"a {type(value).__name__} is no gateway; give a URL or Settings")
    return value


_READERS: dict[str, Callable[[object], Any]] = {
    "gateway": _gateway,
    "job": _job,
    "transport": _one_of("pipe", "inline"),
    "interval": _interval,
    "max_series": _max_series,
    "on_exit": _one_of("keep", "delete"),
    "shutdown_timeout": seconds,
    "linger": seconds,
    "tasks": _patterns,
    "stamp_headers": _flag,
}


def checked(values: Mapping[str, object], *, prefix: str = "") -> dict[str, Any]:
    """The values that were given (not None), read. Raises SettingsError, naming prefix + option."""
    given = {}
    for name, value in values.items():
        if value is None:
            continue
        try:
            given[name] = _READERS[name](value)
        except ValueError as error:
            raise SettingsError(f"{prefix}{name}: {error}") from None
    return given


def from_conf(app: Any) -> dict[str, Any]:
    """The options in the app's configuration, as ``pushgate_<option>``. Raises SettingsError.

    With ``config_from_object(…, namespace="CELERY")`` they are CELERY_PUSHGATE_<OPTION> there.
    """
    app.conf.get(PREFIX)  # makes it final: app.conf is another object from then on
    for key in _keys_of_ours(app.conf):
        if (name := key.removeprefix(PREFIX)) not in _READERS:
            close = difflib.get_close_matches(name, _READERS, n=1, cutoff=0)
            raise SettingsError(f"{key}: there is no such option; did you mean {PREFIX}{close[0]}?")
    return checked({name: app.conf.get(PREFIX + name) for name in _READERS}, prefix=PREFIX)


def _keys_of_ours(conf: Any) -> Iterator[str]:
    namespace = (getattr(conf, "prefix", None) or "").lower()
    for key in conf.without_defaults():
        if not isinstance(key, str):
            continue
        if namespace and key.lower().startswith(namespace + PREFIX):
            yield key.lower().removeprefix(namespace)
        elif key.startswith(PREFIX):
            yield key


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
    if gateway is not None:
        # Not as a flag: those are refused a password, since a process list shows them.
        environ = {**environ, "PUSHGATE_GATEWAY": gateway}
    settings = Settings.load({}, environ)
    return settings if settings.gateway is not None else None
