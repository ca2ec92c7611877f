"""`pushgate start` and `pushgate finish`: a run of a script that can't be wrapped.

A grouping key enters; pushes leave, and what the next call must know, in the job's state file.
Nothing here raises for a push that fails: ``say`` takes a line, and ``remarks`` are the outbox's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import CommandEnd, JobRun, Outcome, Reporter, Status
from pushgate_subprocess import _state
from pushgate_subprocess._failure import failure
from pushgate_subprocess._words import vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pushgate import Gateway, GroupingKey
    from pushgate_subprocess._failure import Remarks

__all__ = ("finish", "start")


def start(
    key: GroupingKey,
    gateway: Gateway | None,
    *,
    expect_every: float | None,
    say: Callable[[str], None],
    remarks: Remarks,
) -> None:
    """The run starts now; ``expect_every`` is the schedule's period in seconds."""
    now = time.time()
    state = _state.mark_started(key, now, say)
    if state is not None and state.previous_vanished is not None:
        say(vanished(key, state.previous_vanished))
    vanished_runs = None if state is None else state.vanished_runs
    run = JobRun(key, now, expect_every, vanished_runs)
    _report(gateway, say, remarks, lambda reporter: reporter.started(run))


def finish(
    key: GroupingKey,
    gateway: Gateway | None,
    *,
    exit_code: int,
    success_codes: Collection[int],
    say: Callable[[str], None],
    remarks: Remarks,
) -> None:
    """The run that `start` began has ended. Its duration is by the wall clock."""
    now = time.time()
    started_at = _state.take_started(key, say)
    if started_at is None:
        say(f"no start of {key} is known here; its duration is left out")
    outcome = Outcome(
        Status.SUCCESS if exit_code in success_codes else Status.FAILURE,
        ended_at=now,
        duration=None if started_at is None else max(0.0, now - started_at),
        command=CommandEnd(exit_code, signal=_signal_of(exit_code)),
    )
    run = JobRun(key, started_at)
    _report(gateway, say, remarks, lambda reporter: reporter.finished(run, outcome))


def _signal_of(exit_code: int) -> int:
    """A shell's ``$?`` after a death by signal is 128 and its number, which is at most 64."""
    return exit_code - 128 if 128 < exit_code <= 192 else 0


def _report(
    gateway: Gateway | None,
    say: Callable[[str], None],
    remarks: Remarks,
    push: Callable[[Reporter], object],
) -> None:
    def say_failure(_run: JobRun, error: Exception) -> None:
        say(failure("the push", error, remarks))

    if gateway is not None:
        remarks.begin()
        push(Reporter(gateway, on_error=say_failure))
        for remark in remarks.take(failed=False):
            say(remark)
