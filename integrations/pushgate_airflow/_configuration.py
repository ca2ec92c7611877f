"""The section ``[pushgate]`` of Airflow's configuration (``AIRFLOW__PUSHGATE__*``)."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import OptionSource, SettingsError, read_options, readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SECTION = "pushgate"
_PREFIX = f"AIRFLOW__{SECTION.upper()}__"
# The characters of Airflow's ids and of fnmatch. Airflow's file knows no comment behind a value: a
# comment's words would become patterns, and one "*" among them would undo listener_allow.
_PATTERN = re.compile(r"[\w.*?\[\]!-]+")


class Configuration(NamedTuple):
    """The options. Prints without secrets.

    ``gateway`` is a URL and goes before the connection ``conn_id``. ``deadline``, in seconds,
    bounds all reports of one task's run. The patterns are fnmatch's, of ``dag_id`` or
    ``dag_id.task_id``. ``outbox`` is a path or "off"; None leaves it to pushgate's own settings.
    ``test_runs`` says whether test runs are reported, too.
    """

    gateway: str | None = None
    conn_id: str = "pushgateway_default"
    job: str = "airflow"
    deadline: float = 3.0
    listener: bool = False
    listener_allow: tuple[str, ...] = ("*",)
    listener_deny: tuple[str, ...] = ()
    outbox: str | None = None
    test_runs: bool = False

    def __repr__(self) -> str:
        from pushgate import Gateway  # not at the top: each process of Airflow imports this module

        url = self.gateway and Gateway(self.gateway).url
        values = {**self._asdict(), "gateway": url}
        return f"Configuration({', '.join(f'{k}={v!r}' for k, v in values.items())})"

    def selects(self, dag_id: str, task_id: str | None) -> bool:
        """Whether the listener reports this task, or with None this DAG's runs.

        A pattern that matches the DAG matches all of its tasks. One that matches only tasks
        (``etl.load_*``) says nothing of the DAG's runs. What is denied stays denied.
        """
        names = (dag_id,) if task_id is None else (dag_id, f"{dag_id}.{task_id}")
        allowed = _matches(names, self.listener_allow) and not _matches(names, self.listener_deny)
        return self.listener and allowed


@lru_cache(maxsize=1)
def configuration() -> Configuration:
    """The configuration, read once in a process. An empty value counts as not set.

    Raises SettingsError, without secrets, for an unknown option and a value that can't be used.
    """
    from airflow.configuration import conf

    texts = {name: conf.get(SECTION, name, fallback=None) for name in _given(conf)}
    given = {name: text.strip() for name, text in texts.items() if text and text.strip()}
    values, _ = read_options(_TABLE, OptionSource(given, label))
    options = Configuration(**values)
    overtime = conf.getfloat("core", "task_success_overtime", fallback=20.0)
    if not options.deadline < overtime:
        raise SettingsError(
            f"{label('deadline')}: {options.deadline:g} s are not less than [core]"
            f" task_success_overtime ({overtime:g} s), after which Airflow kills a task's process"
            " that still reports; lower the one or raise the other"
        )
    return options


def label(name: str) -> str:
    """How an error names the option."""
    return f"[{SECTION}] {name} ({_PREFIX}{name.upper()})"


def _given(conf: Any) -> set[str]:
    """The names that are set in the section, in the file and in the environment."""
    names = set(conf.options(SECTION)) if conf.has_section(SECTION) else set()
    names |= {name.removeprefix(_PREFIX).lower() for name in os.environ if name.startswith(_PREFIX)}
    # Airflow reads a sensitive option also from a command or a secrets backend.
    # https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html
    elsewhere = names & {"gateway_cmd", "gateway_secret"}
    return (names - elsewhere) | ({"gateway"} if elsewhere else set())


def _patterns(value: object, source: OptionSource) -> tuple[str, ...]:
    patterns = readers.names(value, source)
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"{pattern!r} matches no id: they have letters, digits, '_', '-' and '.', and a"
                " pattern also '*', '?' and '[…]'; a comment needs a line of its own"
            )
    return patterns


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _outbox(value: object, source: OptionSource) -> str:
    path = readers.outbox(value, source)
    if path != "off" and not os.path.isabs(path):
        raise ValueError(f"{path!r} is neither an absolute path nor 'off'")
    return path


_TABLE: Mapping[str, Callable[[Any, OptionSource], Any]] = {
    "gateway": readers.gateway,
    "conn_id": readers.text,
    "job": readers.job,
    "deadline": readers.positive_duration,
    "listener": readers.switch,
    "listener_allow": _patterns,
    "listener_deny": _patterns,
    "outbox": _outbox,
    "test_runs": readers.switch,
}
