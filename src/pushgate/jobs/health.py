"""When a job counts as overdue, stuck, failed, …: one place for the command line and alert rules.

Enters: numbers that a group holds, None where it has none, and the time. Leaves: verdicts. All
times are Unix seconds, all spans seconds. Pure; imports nothing.
"""

from __future__ import annotations

__all__ = (
    "INTERVAL_GRACE_LEAST",
    "INTERVAL_GRACE_SHARE",
    "STALE_AFTER",
    "STALE_INTERVALS",
    "STUCK_AFTER_DURATIONS",
    "STUCK_AFTER_LEAST",
    "STUCK_AFTER_UNKNOWN",
    "due_at",
    "is_failed",
    "is_overdue",
    "is_push_failing",
    "is_retrying",
    "is_running",
    "is_stale",
    "is_stuck",
    "never_succeeded",
    "overdue_at",
    "stuck_after",
)

INTERVAL_GRACE_SHARE = 0.5
"""A scheduled job may start this share of its interval late, …"""
INTERVAL_GRACE_LEAST = 60.0
"""… and this many seconds in any case: a cron minute, a scrape and a push."""

STUCK_AFTER_DURATIONS = 3.0
"""A run is stuck when it takes this many times as long as the one before, …"""
STUCK_AFTER_LEAST = 3600.0
"""… but never within this many seconds: runs of a second may well take a minute once."""
STUCK_AFTER_UNKNOWN = 86_400.0
"""The same in seconds for a job of which no run has ended yet."""

STALE_AFTER = 7 * 86_400.0
"""A group is stale when nobody pushed to it for so many seconds, …"""
STALE_INTERVALS = 2.0
"""… and for so many intervals of its job's schedule: a monthly job's is not, after a week."""


def due_at(
    interval: float | None, last_start: float | None, last_skipped: float | None = None
) -> float | None:
    """When the job's next run is expected; None where it has no schedule or never began.

    A run that was skipped was on time, too: its schedule is alive.
    """
    begun = _latest(last_start, last_skipped)
    if interval is None or begun is None or not interval > 0:
        return None
    return begun + interval


def overdue_at(due: float, interval: float) -> float:
    """From when on a run that was due at ``due`` and has not begun is overdue."""
    return due + max(INTERVAL_GRACE_LEAST, INTERVAL_GRACE_SHARE * interval)


def is_overdue(
    now: float,
    interval: float | None,
    last_start: float | None,
    last_skipped: float | None = None,
) -> bool:
    """Whether a run of the job should have begun by now, whatever became of the last one."""
    due = due_at(interval, last_start, last_skipped)
    return due is not None and interval is not None and now > overdue_at(due, interval)


def is_retrying(
    last_start: float | None, last_completion: float | None, last_retry: float | None
) -> bool:
    """Whether a try failed and the next one has not begun: nothing runs, and nothing is stuck."""
    return (
        last_retry is not None
        and last_retry >= (last_start or 0.0)
        and last_retry > (last_completion or 0.0)
    )


def is_running(
    last_start: float | None, last_completion: float | None, last_retry: float | None = None
) -> bool:
    """Whether a run has begun and nobody told its end.

    A run that was skipped meanwhile, because of a lock, does not end the one that is going on.
    """
    return (
        last_start is not None
        and last_start > (last_completion or 0.0)
        and not is_retrying(last_start, last_completion, last_retry)
    )


def stuck_after(last_duration: float | None) -> float:
    """For how long a run may go on, in seconds."""
    if last_duration is None:
        return STUCK_AFTER_UNKNOWN
    return max(STUCK_AFTER_LEAST, STUCK_AFTER_DURATIONS * last_duration)


def is_stuck(
    now: float,
    last_start: float | None,
    last_completion: float | None,
    last_duration: float | None,
    last_retry: float | None = None,
) -> bool:
    """Whether a run goes on for too long, or was killed in a way that nobody could tell."""
    return (
        last_start is not None
        and is_running(last_start, last_completion, last_retry)
        and now - last_start > stuck_after(last_duration)
    )


def is_failed(last_run_success: float | None) -> bool:
    """Whether the last run that ended failed. The next success clears it, a start does not."""
    return last_run_success == 0


def never_succeeded(last_failure: float | None, last_success: float | None) -> bool:
    """Whether the job has failed and never succeeded.

    Of ``last_failure``, not of ``last_completion``: a run that began and was skipped has that, too.
    """
    return last_failure is not None and last_success is None


def is_push_failing(push_time: float, push_failure_time: float) -> bool:
    """Whether the gateway refused the group's last push; 0 where there was none."""
    return push_failure_time > push_time


def is_stale(
    now: float,
    push_time: float,
    push_failure_time: float,
    interval: float | None,
    expiry: float | None,
) -> bool:
    """Whether nobody pushes any more: a refused push is one, and before its expiry none is due."""
    if expiry is not None and expiry > now:
        return False
    allowed = max(STALE_AFTER, STALE_INTERVALS * (interval or 0.0))
    return now - max(push_time, push_failure_time) > allowed


def _latest(*moments: float | None) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)
