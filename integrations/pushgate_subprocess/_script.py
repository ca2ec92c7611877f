"""`pushgate start` and `pushgate finish`: a run of a script that can't be wrapped.

What the next call must know is in the job's state file. Nothing here raises for a push that fails:
that is logged.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from pushgate import CommandEnd, DirectSink, JobRun, Outcome, Status, start_report, with_schedule
from pushgate_subprocess import _state
from pushgate_subprocess._outcome import vanished

if TYPE_CHECKING:
    from collections.abc import Collection

    from pushgate import Gateway, GroupingKey, RateLimitedLogger


def start(
    key: GroupingKey,
    gateway: Gateway | None,
    *,
    expect_every: float | str | None,
    log: RateLimitedLogger,
) -> None:
    """The run starts now; ``expect_every`` is its schedule, as :func:`with_schedule` takes it."""
    now = time.time()
    state = _state.begin(key, now, log.warning, phase="script")
    vanished_at = None
    if state is not None:
        state.let_go()
        if state.previous_vanished is not None:
            log.warning(vanished(key, state.previous_vanished))
            vanished_at = now
    run = with_schedule(JobRun(key, now, vanished_at=vanished_at), expect_every, log.warning)
    if gateway is not None:
        sink = DirectSink(gateway, timeout=gateway.timeout or 10.0, log=log)
        sink.deliver(lambda: [start_report(run)], f"the push of the start of {key}")


def finish(
    key: GroupingKey,
    gateway: Gateway | None,
    *,
    exit_code: int,
    success_codes: Collection[int],
    log: RateLimitedLogger,
) -> None:
    """The run that `start` began has ended. Its duration is by the wall clock."""
    started_at = _state.take_started(key, log.warning)
    now = max(time.time(), started_at or 0.0)  # the clock may have been set back
    if started_at is None:
        log.warning(f"no start of {key} is known here; its duration is left out")
    outcome = Outcome(
        Status.SUCCESS if exit_code in success_codes else Status.FAILURE,
        ended_at=now,
        duration=None if started_at is None else now - started_at,
        command=CommandEnd(exit_code, signal=_signal_of(exit_code)),
    )
    if gateway is not None:
        sink = DirectSink(gateway, timeout=gateway.timeout or 10.0, log=log)
        sink.finished(JobRun(key, started_at, host=socket.gethostname()), outcome)


def _signal_of(exit_code: int) -> int:
    """A shell's ``$?`` after a death by signal is 128 and its number, which is at most 64."""
    return exit_code - 128 if 128 < exit_code <= 192 else 0
