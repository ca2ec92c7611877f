"""The outcome that the end of a command counts as, and the lines about a run for a person. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pushgate import CommandEnd, Outcome, Status

if TYPE_CHECKING:
    from pushgate import GroupingKey
    from pushgate_subprocess._child_end import ChildEnd
    from pushgate_subprocess._run_options import RunOptions


def outcome_of(end: ChildEnd, options: RunOptions) -> Outcome:
    """What a command that ended so counts as."""
    usage, succeeded = end.usage, options.counts_as_success(end)
    is_too_short = not (succeeded or end.timed_out) and end.returncode in options.success_codes
    return Outcome(
        Status.SUCCESS if succeeded else Status.FAILURE,
        ended_at=end.ended_at,
        duration=end.duration,
        command=CommandEnd(
            end.exit_status(preserve=options.preserve_status),
            signal=end.signal or 0,
            timed_out=end.timed_out,
            cpu_seconds={"user": usage.ru_utime, "system": usage.ru_stime},
            max_rss_bytes=end.max_rss_bytes,
            io_blocks={"read": usage.ru_inblock, "write": usage.ru_oublock},
            context_switches={"voluntary": usage.ru_nvcsw, "involuntary": usage.ru_nivcsw},
        ),
        exception="too short" if is_too_short else "",
    )


def not_started(exit_status: int, now: float) -> Outcome:
    """What a command counts as that could not be started."""
    return Outcome(Status.FAILURE, now, duration=0.0, command=CommandEnd(exit_status))


def skipped(now: float) -> Outcome:
    """What a run counts as that another one has locked out."""
    return Outcome(Status.SKIPPED, now)


def vanished(key: GroupingKey, started_at: float) -> str:
    """The line that says that the run before never reported its end."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    return f"the run of {key} that began at {began} vanished: it never reported its end"


def describe(outcome: Outcome, min_duration: float) -> str:
    """How the run ended; ``min_duration`` is in seconds."""
    how = {Status.SUCCESS: "succeeded", Status.FAILURE: "failed"}.get(outcome.status, "skipped")
    if outcome.command is not None and outcome.command.exit_code:
        how += f" with exit code {outcome.command.exit_code}"
    if outcome.duration is None:
        return how
    too_short = outcome.status is Status.FAILURE and outcome.duration < min_duration
    why = f", less than {min_duration:g} s" if too_short else ""
    return f"{how} after {outcome.duration:.2f} s{why}"
