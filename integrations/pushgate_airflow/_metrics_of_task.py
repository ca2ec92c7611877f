"""Where a task's own numbers are collected: in its process, and in the file of its children.

A task begins with an empty file, named in ``$PUSHGATE_METRICS_FILE``, and none of the numbers of
earlier runs. What can't arrive is logged.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

# open_private is what the thread that removes leftovers needs: a task may fork while it imports.
from pushgate import Family, MetricsFile, OwnMetrics, open_private  # noqa: F401
from pushgate_airflow._configuration import configuration
from pushgate_airflow._events import plain_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pushgate import GroupingKey
    from pushgate_airflow._events import Event

VARIABLE = "PUSHGATE_METRICS_FILE"
_MAX_RUNS = 100  # a process runs one task as a rule; dag.test() runs all of them, one by one
_END_SLOTS = ("success", "failure", "retry", "skipped")
_PAUSED = ("deferred", "up_for_reschedule")
_runs: dict[tuple[object, ...], _Run] = {}
_others: dict[int, OwnMetrics] = {}  # of a process that is none of a task, by process id
_is_forked = False


class _Run:
    """The numbers of one try of a task."""

    def __init__(self) -> None:
        self.metrics = OwnMetrics()
        self.task_instance: Any = None
        self.file: MetricsFile | None = None
        self.written: list[Family] = []  # what was in the file

    def open_file(self) -> None:
        if self.file is None:
            self.file = MetricsFile()
            self.file.remove_leftovers()
            os.environ.pop(VARIABLE, None)
            if self.file.path is not None:
                os.environ[VARIABLE] = self.file.path

    def close_file(self, key: GroupingKey | None) -> None:
        if self.file is not None and key is not None:
            self.written += self.file.read(key, logging.getLogger("pushgate").warning)
        if self.file is not None:
            self.file.remove()


def begin(event: Event) -> None:
    """The task of ``event`` starts in this process. For all reports of it, one file is made."""
    _run_of(_identity(event)).open_file()


def own_families(event: Event, key: GroupingKey) -> list[Family] | None:
    """What the task of ``event`` and its children have set; None where they have set nothing.

    ``key`` is the group of its outcome.
    """
    run = _runs.get(_identity(event))
    if run is None:
        return None
    run.close_file(key)
    return merged([*run.metrics.collect(), *run.written]) or None


def merged(families: Iterable[Any]) -> list[Family]:
    """One family of each name. Of samples with the same name and labels, the last one counts.

    The first one says the type; what has another one is left out, with a warning.
    """
    found: dict[str, Family] = {}
    samples: dict[str, dict[object, Any]] = {}
    for family in families:
        first = found.setdefault(
            family.name, Family(family.name, family.documentation, family.type, ())
        )
        if first.type != family.type:
            _warn(f"{family.name!r} is set as a {first.type} and as a {family.type}: use one")
            continue
        series = samples.setdefault(family.name, {})
        series.update({(s.name, frozenset(s.labels.items())): s for s in family.samples})
    return [found[name]._replace(samples=tuple(s.values())) for name, s in samples.items() if s]


def metrics_of_now(name: str | None = None) -> OwnMetrics:
    """Those of the task that runs; in a process of its own, those that the file will get.

    ``name`` is of a metric that is being set: where it can't arrive, a warning says why.
    """
    ti = None if _is_forked else _task_instance()
    if ti is None:
        return _metrics_of_process(name)
    run = _run_of(_identity(ti))
    run.task_instance = ti
    task = getattr(ti, "task", None)
    slots = (getattr(task, f"on_{slot}_callback", None) for slot in _END_SLOTS)
    if run.file is None and not configuration().selects(ti.dag_id, ti.task_id) and not any(slots):
        _warn(
            f"own metrics of {ti.dag_id}.{ti.task_id} are not pushed: it has no callback; set"
            " [pushgate] listener, or give the task a PushgatewayNotifier"
        )
    return run.metrics


def warn_of_pause() -> None:
    """The task's process ends. After a deferral, another process goes on, with other metrics."""
    for run in _runs.values():
        state = getattr(run.task_instance, "state", None)
        if state in _PAUSED and run.metrics.collect():
            state = plain_state(state)
            _warn(f"own metrics that were set before the task was {state} are not pushed")


def _identity(of: Any) -> tuple[object, ...]:
    return of.dag_id, of.task_id, of.run_id, of.map_index, of.try_number


def _run_of(identity: tuple[object, ...]) -> _Run:
    run = _runs.setdefault(identity, _Run())
    while len(_runs) > _MAX_RUNS:
        _runs.pop(next(iter(_runs))).close_file(None)
    return run


def _task_instance() -> Any:
    """That of the task which runs in this process, or None."""
    sdk = sys.modules.get("airflow.sdk")  # to import it takes seconds
    try:
        return sdk.get_current_context()["ti"] if sdk else None
    except (RuntimeError, KeyError):  # RuntimeError is Airflow's for "no task runs here"
        return None


def _metrics_of_process(name: str | None) -> OwnMetrics:
    """Those of a child of a task, of another interpreter, or of no task at all."""
    if name is None or VARIABLE not in os.environ:
        if name is not None:
            _warn(f"{name!r} is set and not pushed: no task runs here, and ${VARIABLE} is not set")
        return OwnMetrics()
    process = os.getpid()
    if process not in _others:
        from multiprocessing.util import Finalize  # runs also where a forked child ends

        _others[process] = OwnMetrics()
        Finalize(None, _write, (_others[process], os.environ[VARIABLE]), exitpriority=0)
    return _others[process]


def _write(metrics: OwnMetrics, path: str) -> None:
    from prometheus_client import generate_latest

    try:
        with open(path, "ab") as file:
            file.write(b"\n" + generate_latest(metrics.registry))
    except OSError as error:
        _warn(f"own metrics are lost: {path}: {error.strerror}")


def _after_fork() -> None:
    global _is_forked  # noqa: PLW0603 - one fact about this process
    _is_forked = _is_forked or _task_instance() is not None


@lru_cache(maxsize=100)
def _warn(text: str) -> None:
    logging.getLogger("pushgate").warning(text)


os.register_at_fork(after_in_child=_after_fork)
