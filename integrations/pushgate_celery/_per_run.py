"""``@per_run``: runs of a task that deserve a group each, for as long as the user says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pushgate import GroupingKey, readers

_T = TypeVar("_T")
_ATTRIBUTE = "_pushgate_per_run"
_RESERVED = ("job", "task", "instance", "origin")
_MAX_LABELS_TEXT = 1500  # of the 4096 bytes that a record may have

Grouping = Callable[[Mapping[str, Any]], Mapping[str, object]]


class PerRunSpec:
    """How the runs of a task are named, and how long their groups live, in seconds."""

    def __init__(self, grouping: Grouping, lifetime: float) -> None:
        self._grouping = grouping
        self._lifetime = lifetime

    def of_run(self, task: Any, args: Any, kwargs: Any) -> list[object]:
        """``[labels, lifetime]`` of one run. Raises whatever the grouping raises, or ValueError."""
        bound = inspect.signature(task.run).bind(*(args or ()), **(kwargs or {}))
        bound.apply_defaults()
        labels = {str(key): str(v) for key, v in self._grouping(bound.arguments).items()}
        if not labels:
            raise ValueError("the grouping gave no labels; give at least one that names the run")
        for label in _RESERVED:
            if label in labels:
                raise ValueError(f"the label {label!r} is ours; give yours another name")
        GroupingKey("job", labels)
        if sum(len(key) + len(value) for key, value in labels.items()) > _MAX_LABELS_TEXT:
            raise ValueError(f"the labels have more than {_MAX_LABELS_TEXT} characters")
        return [labels, self._lifetime]


def per_run(
    *, grouping: Grouping | Iterable[str] | str, lifetime: float | str
) -> Callable[[_T], _T]:
    """Give each run of a task a group of its own at the gateway, beside the task's group.

    ``grouping`` names the run: the names of arguments whose values become labels (``"table"``, or
    ``["table", "day"]``), or a function that is called with a mapping of the task's arguments,
    defaults included, and returns the labels. If it raises, that is logged once and the run is
    reported in the task's group alone. The labels job, task, instance and origin are taken.

    ``lifetime`` is how long the group is of use after the run's end: seconds, or text such as
    ``"1h"``. The group says until when, and ``pushgate prune`` deletes it then. Every run makes a
    group, so choose it with the number of runs in mind.

    Works above and below ``@app.task``. Raises ValueError for what can't be used.
    """
    spec = PerRunSpec(_as_function(grouping), _lifetime(lifetime))

    def decorate(task: _T) -> _T:
        # Above @app.task it is a promise, which must not be evaluated before the app is ready.
        then = getattr(type(task), "__then__", None)
        if then is not None:
            then(task, lambda: setattr(task, _ATTRIBUTE, spec))
        elif callable(task):
            setattr(task, _ATTRIBUTE, spec)
        else:
            raise TypeError(f"per_run is for tasks and their functions, not {task!r}")
        return task

    return decorate


def spec_of(task: Any) -> PerRunSpec | None:
    """The options that ``@per_run`` gave this task, or None."""
    found = getattr(task, _ATTRIBUTE, None) or getattr(task.run, _ATTRIBUTE, None)
    return found if isinstance(found, PerRunSpec) else None


def _lifetime(value: float | str) -> float:
    try:
        return readers.positive_duration(value)
    except ValueError as error:
        raise ValueError(f"lifetime: {error}") from None


def _as_function(grouping: Grouping | Iterable[str] | str) -> Grouping:
    if callable(grouping):
        return grouping
    names = (grouping,) if isinstance(grouping, str) else tuple(grouping)
    if not names:
        raise ValueError("grouping names no argument; give at least one that names the run")
    for name in names:
        if not isinstance(name, str) or name in _RESERVED:
            raise ValueError(f"{name!r} can't be a label of a run; give a function as grouping")
        GroupingKey("job", {name: "value"})
    return lambda arguments: {name: arguments[name] for name in names}
