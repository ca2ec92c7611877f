"""The records that a worker's processes write for the pusher: a list each, its kind first.

The handlers write plain lists, which takes microseconds; the pusher reads them as these tuples.
Both sides are of one version, so the layout may change with each version. Times are Unix seconds,
durations seconds; None is not known. A PerRun inside a record is a list ``[labels, lifetime]``. A
new pusher begins its totals at 0, and needs KNOWN again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = (
    "COUNT",
    "END",
    "GOODBYE",
    "KNOWN",
    "METRIC",
    "START",
    "WORKER",
    "Count",
    "End",
    "Known",
    "MetricUpdate",
    "PerRun",
    "Start",
    "State",
    "What",
    "WorkerState",
)

START, END, COUNT, METRIC, WORKER, KNOWN, GOODBYE = "s", "e", "n", "m", "w", "k", "g"

State = Literal["success", "failure", "retry", "ignored", "rejected", "revoked"]
"""How a task's run ended. ``revoked`` is one that was terminated while it ran."""

What = Literal["revoked", "unknown", "rejected", "children_lost"]
"""What the worker's main process counts. ``revoked`` has the labels task and reason (revoked,
expired or terminated), the others none."""


class PerRun(NamedTuple):
    """A run's own group: ``labels`` beside job and task, of use for ``lifetime`` seconds."""

    labels: dict[str, str]
    lifetime: float


class Start(NamedTuple):
    """A task's run began. ``interval`` is what remains until it is due again."""

    task: str
    started_at: float
    interval: float | None
    redelivered: bool
    queue: str
    per_run: PerRun | None


class End(NamedTuple):
    """A task's run ended. Exactly one process writes this for each run.

    ``exception`` is the class's name, capped, or "". ``wait`` is the time in the queue,
    ``latency`` that from the first publication to success. ``try_number`` counts from 1.
    """

    task: str
    queue: str
    state: State
    exception: str
    started_at: float | None
    ended_at: float
    duration: float | None
    wait: float | None
    latency: float | None
    try_number: int
    interval: float | None
    per_run: PerRun | None


class Count(NamedTuple):
    """An event that the main process counts."""

    what: What
    labels: dict[str, str]
    amount: int


class MetricUpdate(NamedTuple):
    """A metric that a task's code set: ``op`` is inc, observe or set."""

    op: Literal["inc", "observe", "set"]
    name: str
    value: float
    labels: dict[str, str]
    task: str


class WorkerState(NamedTuple):
    """The worker's own state, at each heartbeat.

    ``oldest_start`` is when the task that has been running longest began.
    """

    active: int
    prefetched: int
    oldest_start: float | None


class Known(NamedTuple):
    """Tasks that the worker could run and the queue that each is routed to, for zeros."""

    tasks: dict[str, str]
