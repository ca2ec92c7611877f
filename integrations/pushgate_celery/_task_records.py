"""The records that a worker's processes write for the pusher: a tuple each, its kind first.

The handlers write plain tuples, which takes microseconds; the pusher reads them as these. Both
sides are of one version, so the layout may change with each version. Times are Unix seconds,
durations seconds; None is not known. A new pusher begins its totals at 0, and needs KNOWN again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

START = "s"  # TaskRun
END = "e"  # TaskRun, End
CUT = "c"
"""``TaskRun, End, killed``: an exception left Celery's tracer, and another word on the end may come
from it or from the main process. ``killed``: the process is ending, by its own code or a signal."""
TOLD = "t"  # the task's id, its name, End: what the executing process could not write
GONE = "x"
"""``pid, is_lost, is_wanted``: a child has ended. ``is_lost``: not on purpose. ``is_wanted``: the
worker ended it and what it ran, so that has no end."""
COUNT = "n"  # a counter's name, its label values
METRIC = "m"  # MetricUpdate
WORKER = "w"  # WorkerState
KNOWN = "k"  # {task: queue}, of tasks that the worker could run, for zeros
GOODBYE = "g"  # whether an error ended the worker


class TaskRun(NamedTuple):
    """A run of a task, as its process saw it begin. ``pid`` and ``number`` name it.

    ``stamp`` is the message's header (`_stamp`), in a record as it was found; ``eta`` is when it
    was due. ``after_loss`` says what becomes of the message if the process is killed: 0 it is lost,
    1 it is delivered again if the worker is killed, 2 also if the child is. ``per_run`` is for
    a group of the run's own: labels beside job and task, and for how many seconds it is of use.
    """

    pid: int
    number: int
    task_id: str
    task: str
    queue: str
    started_at: float
    retries: int | None
    redelivered: bool | None
    stamp: tuple[float, float, float | None] | None
    eta: float | None
    after_loss: int
    per_run: tuple[dict[str, str], float] | None


class End(NamedTuple):
    """How a run ended. ``exception`` is the class's name, capped, or "".

    ``state`` is one of success, failure, retry, ignored, rejected, revoked (terminated while it
    ran), or "" for a run whose message was handed back: it will run again.
    """

    state: Literal["success", "failure", "retry", "ignored", "rejected", "revoked", ""]
    exception: str
    at: float
    duration: float | None


class MetricUpdate(NamedTuple):
    """A metric that a task's code set: ``op`` is inc, observe or set."""

    op: Literal["inc", "observe", "set"]
    name: str
    value: float
    labels: dict[str, str]
    task: str


class WorkerState(NamedTuple):
    """The worker's own state, every few seconds.

    ``oldest_start`` is when the task that has been running longest began. ``is_quiet``: the main
    process may say nothing more for a while, for it runs a task itself, or waits for the last ones.
    """

    active: int
    prefetched: int
    oldest_start: float | None
    concurrency: int
    is_quiet: bool
