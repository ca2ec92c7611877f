"""Which DAGs and tasks the listener reports.

The configuration and an identity enter, yes or no leaves.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pushgate_airflow._configuration import Configuration

__all__ = ("selected",)


def selected(options: Configuration, dag_id: str, task_id: str | None) -> bool:
    """Whether the listener reports this task, or with None this DAG's runs.

    A pattern that matches the DAG matches all of its tasks; one that matches only tasks
    (``etl.load_*``) says nothing of the DAG's runs. What is denied stays denied.
    """
    if not options.listener:
        return False
    if not (options.listener_runs if task_id is None else options.listener_tasks):
        return False
    names = (dag_id,) if task_id is None else (dag_id, f"{dag_id}.{task_id}")
    return _matches(names, options.listener_allow) and not _matches(names, options.listener_deny)


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
