"""A task's own metrics: ``current().inc("rows_loaded", 5, table="orders")``.

Outside of a worker's task they are only checked, so that a test finds a wrong name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from celery._state import _task_stack

from pushgate_celery._metric_specs import RESERVED_PREFIXES
from pushgate_celery._task_records import METRIC

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN_SUFFIXES = ("_bucket", "_count", "_sum", "_created", "_info")
_TAKEN_LABELS = ("job", "instance", "task", "origin", "le", "quantile")
_MAX_VALUE = 200  # characters of a label's value; a record has 4096 bytes


class CurrentTask:
    """Where the metrics of the task that is running go; from :func:`current`.

    All methods raise ValueError for a name, a label or a value that can't be used. Values of
    labels become text, of which 200 characters are kept.
    """

    __slots__ = ("_task", "_write")

    def __init__(self, task: str, write: Callable[[object], object] | None) -> None:
        self._task = task
        self._write = write

    def inc(self, name: str, amount: float = 1, /, **labels: object) -> None:
        """Add ``amount`` (0 or more) to a counter; its name gets ``_total`` where it lacks that."""
        self._record("inc", name, amount, labels)

    def observe(self, name: str, value: float, /, **labels: object) -> None:
        """Observe a value in a histogram."""
        self._record("observe", name, value, labels)

    def set(self, name: str, value: float, /, **labels: object) -> None:
        """Set a gauge of the task's."""
        self._record("set", name, value, labels)

    def _record(
        self,
        op: Literal["inc", "observe", "set"],
        name: str,
        value: float,
        labels: dict[str, object],
    ) -> None:
        name = _checked(op, name, tuple(labels))
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: {value!r} is no number") from None
        if op != "set" and not math.isfinite(number):
            raise ValueError(f"{name}: {number} can't be added up; leave it out")
        if op == "inc" and number < 0:
            raise ValueError(f"{name}: a counter can't go down by {-number}; use set() for a gauge")
        if self._write is not None:
            texts = {label: str(text)[:_MAX_VALUE] for label, text in labels.items()}
            self._write((METRIC, op, name, number, texts, self._task))


_NOWHERE = CurrentTask("", None)


def current() -> CurrentTask:
    """The task that this thread runs. Its metrics go to the worker's pusher.

    Outside a worker's task (in a web process, in a test, in a thread that the task started, in a
    task that is executed eagerly) it is a stand-in that only checks. To use it in another thread
    of the task's, call this in the task and hand the result on. A task that is called as a function
    is part of the one that calls it.
    """
    for task in reversed(_task_stack.stack):
        for request in reversed(task.request_stack.stack):
            if not request.called_directly:
                run = getattr(request, "_pushgate_run", None)
                return _NOWHERE if run is None else CurrentTask(run[0][3], run[3])
    return _NOWHERE


@lru_cache(maxsize=1000)
def _checked(op: str, name: str, labels: tuple[str, ...]) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _MAX_VALUE:
        raise ValueError(
            f"{name!r} is no metric name; use letters, digits and _, a digit not first"
        )
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            raise ValueError(f"{name}: names that begin with {prefix} are taken; choose another")
    for suffix in _TAKEN_SUFFIXES:
        if name.endswith(suffix):
            raise ValueError(f"{name}: {suffix} is what Prometheus adds itself; choose another end")
    if op != "inc" and name.endswith("_total"):
        raise ValueError(f"{name}: _total is the end of a counter's name; use inc(), or drop it")
    for label in labels:
        if not _NAME.fullmatch(label) or label.startswith("__"):
            raise ValueError(
                f"{name}: {label!r} is no label; use letters, digits and _, and not __ first"
            )
        if label == "amount" and op == "inc":
            raise ValueError(f"{name}: amount goes without its name: inc({name!r}, 5)")
        if label in _TAKEN_LABELS:
            raise ValueError(f"{name}: the label {label} is set by pushgate; choose another name")
    return name if op != "inc" or name.endswith("_total") else f"{name}_total"
