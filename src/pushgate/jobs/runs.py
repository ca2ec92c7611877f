"""A job's run and its outcome, as values. No clock is read here."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocol.grouping_key import GroupingKey


class Status(Enum):
    """How a run ended.

    RETRY: a try failed and will be repeated, so the run has not ended. UPSTREAM_FAILED: the run was
    not started because a job before it had failed, which is no failure of this job.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    RETRY = "retry"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"


class JobRun(NamedTuple):
    """One run of a job. ``key`` identifies the job, not the run.

    ``started_at`` is in Unix seconds, None where not known; ``expected_interval`` is the schedule's
    period in seconds. ``vanished_at`` is set where a run before this one started and never
    reported its end: the Unix time at which that was noticed. ``expires_at``, in Unix seconds, is
    for a key that names the run after all: from then on the group may be deleted.

    ``host``, ``run_id`` and ``url`` say where to look: where it ran, what its framework calls it,
    and the page with its log. Empty where not known. ``next_run_at``, in Unix seconds, is for a
    schedule that says it exactly: the period until then alone says nothing of the runs that follow.
    """

    key: GroupingKey
    started_at: float | None
    expected_interval: float | None = None
    vanished_at: float | None = None
    expires_at: float | None = None
    host: str = ""
    run_id: str = ""
    url: str = ""
    next_run_at: float | None = None


class CommandEnd(NamedTuple):
    """How a command ended, beyond success or failure.

    ``exit_code`` is the shell's (128+n for signal n), ``signal`` the number of the signal that
    killed it or 0. The rest is rusage: CPU seconds by mode, peak resident bytes, block
    operations by direction, context switches by kind; None where not known.
    """

    exit_code: int
    signal: int = 0
    timed_out: bool = False
    cpu_seconds: Mapping[str, float] | None = None
    max_rss_bytes: int | None = None
    io_blocks: Mapping[str, int] | None = None
    context_switches: Mapping[str, int] | None = None


class Outcome(NamedTuple):
    """How a run ended: ``ended_at`` in Unix seconds, ``duration`` in seconds by a monotonic clock.

    A skipped run has a duration only if it had started; then it has also completed. ``try_number``
    counts from 1; ``queue_wait`` is how many seconds the run waited for its start. ``timed_out``
    says whether a time limit ended the run, where it is no command; None is not known.
    ``exception`` says in a word why it failed, such as ``KeyError`` or ``exit 3``.
    """

    status: Status
    ended_at: float
    duration: float | None = None
    try_number: int | None = None
    queue_wait: float | None = None
    command: CommandEnd | None = None
    timed_out: bool | None = None
    exception: str = ""
