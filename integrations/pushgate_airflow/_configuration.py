"""The one reader of Airflow's configuration: section ``[pushgate]``, ``AIRFLOW__PUSHGATE__*``.

Values as people write them enter; a frozen :class:`Configuration` leaves, or a SettingsError that
names the option and never a secret. ``_provider_options`` describes each option to Airflow.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import SettingsError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ("SECTION", "Configuration", "closest", "configuration", "reset")

SECTION = "pushgate"
# What Airflow allows in an id, and what is fnmatch's. Airflow's file knows no comments behind a
# value: the words of one would be patterns, and one "*" among them would undo a listener_allow.
_PATTERN = re.compile(r"[\w.*?\[\]!-]+")
_TRUE, _FALSE = ("true", "t", "1", "yes", "on"), ("false", "f", "0", "no", "off")


class Configuration(NamedTuple):
    """What was configured, with defaults for the rest. Prints without secrets.

    ``gateway`` is a URL and goes before the connection ``conn_id``; ``deadline``, in seconds,
    bounds all of a report; the patterns are fnmatch's, of ``dag_id`` or ``dag_id.task_id``;
    ``outbox`` is a path or "off", and without it pushgate's own settings say.
    """

    gateway: str | None = None
    conn_id: str = "pushgateway_default"
    job: str = "airflow"
    deadline: float = 3.0
    listener: bool = False
    listener_allow: tuple[str, ...] = ("*",)
    listener_deny: tuple[str, ...] = ()
    listener_tasks: bool = True
    listener_runs: bool = True
    queue_size: int = 10_000
    outbox: str | None = None
    ui_url: str | None = None

    def __repr__(self) -> str:
        url = self.gateway and _without_credentials(self.gateway)
        values = {**self._asdict(), "gateway": url}
        return f"Configuration({', '.join(f'{k}={v!r}' for k, v in values.items())})"


@lru_cache(maxsize=1)
def configuration() -> Configuration:
    """The configuration, read once in a process; an empty value counts as not set.

    Raises SettingsError for an option that there is not, and for a value that can't be used.
    """
    from airflow.configuration import conf

    _refuse_unknown(_names(conf))
    values = {}
    for name, read in _READERS.items():
        text = conf.get(SECTION, name, fallback=None)
        if text is None or not str(text).strip():
            continue
        try:
            values[name] = read(str(text).strip())
        except ValueError as error:
            raise SettingsError(f"{_where(name)}: {error}") from None
    options = Configuration(**values)
    _refuse_overtime(options.deadline, conf)
    return options


def reset() -> None:
    """Read anew when next asked: for tests."""
    configuration.cache_clear()


def closest(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that ``name`` looks most like."""
    from difflib import get_close_matches

    return get_close_matches(name, list(names), n=1, cutoff=0)[0]


def _where(name: str) -> str:
    return f"[{SECTION}] {name} (AIRFLOW__{SECTION.upper()}__{name.upper()})"


def _names(conf: Any) -> set[str]:
    """What is set in the section, in the file and in the environment."""
    names = set(conf.options(SECTION)) if conf.has_section(SECTION) else set()
    prefix = f"AIRFLOW__{SECTION.upper()}__"
    for variable in os.environ:
        if variable.startswith(prefix):
            names.add(variable.removeprefix(prefix).lower())
    # A secret may also come from a command or a secrets backend.
    # https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html
    return names - {f"gateway_{end}" for end in ("cmd", "secret")}


def _refuse_unknown(names: Iterable[str]) -> None:
    for name in names:
        if name not in _READERS:
            near = closest(name, _READERS)
            raise SettingsError(f"{_where(name)}: there is no such option; did you mean {near}?")


def _refuse_overtime(deadline: float, conf: Any) -> None:
    overtime = conf.getfloat("core", "task_success_overtime", fallback=20.0)
    if not deadline < overtime:
        raise SettingsError(
            f"{_where('deadline')}: {deadline:g} s are not less than [core] task_success_overtime"
            f" ({overtime:g} s), after which Airflow kills a task's process that still reports;"
            " lower the one or raise the other"
        )


def _url(text: str) -> str:
    _without_credentials(text)  # raises for what is no URL
    return text


def _url_for_people(text: str) -> str:
    url = _without_credentials(text)
    if "@" in text:
        raise ValueError("the URL holds a user name, and everybody who sees the link would read it")
    return url


def _without_credentials(url: str) -> str:
    from pushgate import Gateway  # not at the top: each process of Airflow's imports this module

    return Gateway(url).url


def _job(text: str) -> str:
    from pushgate import GroupingKey

    return GroupingKey(text).job


def _seconds(text: str) -> float:
    if not (seconds := parse_duration(text)) > 0:
        raise ValueError(f"{text!r} is not above 0 seconds")
    return seconds


def _switch(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"{text!r} is neither True nor False")
    return text.lower() in _TRUE


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(text.replace(",", " ").split())
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} matches no id: they have letters, digits, '_', '-' and '.', and a"
                " pattern also '*', '?' and '[…]'; a comment needs a line of its own"
            )
    return patterns


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) < 10**9):
        raise ValueError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _outbox(text: str) -> str:
    if text.lower() in ("off", *_FALSE):
        return "off"
    path = os.path.expanduser(text)
    if not os.path.isabs(path):
        raise ValueError(f"{text!r} is neither an absolute path nor 'off'")
    return path


_READERS: dict[str, Callable[[str], Any]] = {
    "gateway": _url,
    "conn_id": str,
    "job": _job,
    "deadline": _seconds,
    "listener": _switch,
    "listener_allow": _patterns,
    "listener_deny": _patterns,
    "listener_tasks": _switch,
    "listener_runs": _switch,
    "queue_size": _size,
    "outbox": _outbox,
    "ui_url": _url_for_people,
}
