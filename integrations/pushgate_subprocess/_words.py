"""What is said of a run, for a person. Values enter; text leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import Status

if TYPE_CHECKING:
    from pushgate import GroupingKey, Outcome

__all__ = ("in_words", "vanished")


def vanished(key: GroupingKey, started_at: float) -> str:
    """The line that says that the run before did not come to an end we know of."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    return f"the run of {key} that began at {began} vanished: it never reported its end"


def in_words(outcome: Outcome, min_duration: float) -> str:
    """How the run ended; ``min_duration`` is in seconds."""
    how = {Status.SUCCESS: "succeeded", Status.FAILURE: "failed"}.get(outcome.status, "skipped")
    if outcome.command is not None and outcome.command.exit_code:
        how += f" with exit code {outcome.command.exit_code}"
    if outcome.duration is None:
        return how
    too_short = outcome.status is Status.FAILURE and outcome.duration < min_duration
    why = f", less than {min_duration:g} s" if too_short else ""
    return f"{how} after {outcome.duration:.2f} s{why}"
