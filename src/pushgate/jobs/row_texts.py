"""The words for a job's row, which every list of jobs shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ages import ago, counted, roughly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .status import JobRow

YOUNG = 3600.0
"""For so many seconds after its start it is said what a gateway may have lost."""


def last_run(row: JobRow) -> str:
    """How the last run went, or that one goes on: ``failed (exit 3)``."""
    text = f"{row.outcome} ({row.detail})" if row.detail else row.outcome
    if row.stuck:
        text = "stuck? running"
    elif row.ends_missing:
        text = "killed? running"
    return f"{text}, failed before" if row.failed and row.outcome != "failed" else text


def next_run(row: JobRow, now: float) -> str:
    """When the next run is due: ``in 5m``, ``overdue 3h``; ``-`` where nobody knows."""
    if row.due is None:
        return "-"
    if row.overdue:
        return f"overdue {roughly(now - row.due)}"
    return f"in {roughly(row.due - now)}" if row.due > now else "due"


def remarks(row: JobRow, now: float) -> str:
    """What else there is to say of the job; empty for most."""
    notes = {
        f"paused for {roughly((row.paused_until or now) - now)}": row.paused_until,
        "runs start and none ends": row.ends_missing,
        "no run has ended yet": row.never_ended,
        "never succeeded": row.never_succeeded,
        "missed its deadline": row.missed_deadline,
        f"push refused {ago(row.push_failure_time, now)}": row.push_failing,
        f"no push for {roughly(now - row.push_time)}": row.stale,
        "a run vanished": row.vanished,
        f"its host's clock is {roughly(row.clock_ahead)} ahead": row.clock_ahead,
    }
    return ", ".join(text for text, holds in notes.items() if holds)


def summary(rows: Sequence[JobRow]) -> str:
    """All jobs in a line: ``40 jobs, 3 to look at, 1 in doubt``."""
    counts = {
        "to look at": sum(row.bad for row in rows),
        "in doubt": sum(row.doubtful and not row.bad for row in rows),
        "paused": sum(row.paused_until is not None for row in rows),
    }
    found = [f"{number} {what}" for what, number in counts.items() if number]
    return f"{counted(len(rows), 'job')}, {', '.join(found) or 'all well'}"


def young_gateway(started_at: float, now: float) -> str:
    """What a gateway may have lost that was started a short time ago; empty for others.

    It does not know itself what it held. Prometheus does: see the alert GroupsDisappeared.
    """
    if now - started_at >= YOUNG:
        return ""
    return (
        f"the gateway was started {ago(started_at, now)}: groups from before are here only if it"
        " has --persistence.file; else each job is back with its next run"
    )
