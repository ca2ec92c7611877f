"""A run and its outcome as metric families: the one vocabulary of all adapters. Pure.

Every metric is a gauge whose name begins with ``batch_job_``. A failed run publishes no
``last_success``, and a POST leaves families it does not carry alone, so the previous success stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.families import Family, Sample, gauge
from .runs import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .runs import CommandEnd, JobRun, Outcome

__all__ = ("PREFIX", "deadline_families", "end_families", "mapped_families", "start_families")

PREFIX = "batch_job_"

_HELP = {
    "last_start_timestamp_seconds": "Unix time at which the job was last started.",
    "last_completion_timestamp_seconds": "Unix time at which the job last ended, however it ended.",
    "last_success_timestamp_seconds": "Unix time at which the job last succeeded.",
    "last_failure_timestamp_seconds": "Unix time at which the job last failed.",
    "last_duration_seconds": "Duration of the job's last run.",
    "last_run_success": "Whether the job's last run succeeded (1) or failed (0).",
    "last_exit_code": "Exit code of the last run's command; 128+n if signal n killed it.",
    "last_signal": "Number of the signal that killed the last run's command, or 0.",
    "last_timed_out": "Whether the last run's command was ended by its time limit.",
    "last_cpu_seconds": "CPU time used by the last run's command.",
    "last_max_rss_bytes": "Peak resident memory of the last run's command.",
    "last_io_blocks": "Block input and output operations of the last run's command.",
    "last_context_switches": "Context switches of the last run's command.",
    "last_retry_timestamp_seconds": "Unix time at which a try last failed that is tried again.",
    "last_queue_wait_seconds": "How long the job's last run waited to be started.",
    "last_try_number": "Which try of the task the last run was, from 1.",
    "last_skipped_timestamp_seconds": "Unix time at which a run was last skipped.",
    "last_deadline_missed_timestamp_seconds": "Unix time of the last deadline a run missed.",
    "last_mapped_runs": "How many instances of the mapped task's last run ended in each state.",
    "last_mapped_longest_seconds": "Duration of the longest of the mapped task's last instances.",
    "expected_interval_seconds": "Period of the job's schedule.",
    "group_expiry_timestamp_seconds": "Unix time from which on the group may be deleted.",
    "vanished_runs": "Runs of the job, on its host, that began and never reported their end.",
}

_LAST = {
    Status.SUCCESS: "last_success",
    Status.FAILURE: "last_failure",
    Status.RETRY: "last_retry",
    Status.SKIPPED: "last_skipped",
}


def start_families(run: JobRun) -> list[Family]:
    """What is known when a run starts. ``last_start > last_completion`` says that it is running."""
    families = []
    if run.started_at is not None:
        families.append(_gauge("last_start_timestamp_seconds", run.started_at))
    if run.expected_interval is not None:
        families.append(_gauge("expected_interval_seconds", run.expected_interval))
    if run.vanished_runs is not None:
        families.append(_gauge("vanished_runs", run.vanished_runs))
    if run.expires_at is not None:
        families.append(_gauge("group_expiry_timestamp_seconds", run.expires_at))
    return families


def end_families(run: JobRun, outcome: Outcome) -> list[Family]:
    """What is known when a run has ended, the start included: its push may not have arrived."""
    status = Status(outcome.status)  # also its value; anything else is no failure but a mistake
    what = [_gauge(f"{_LAST[status]}_timestamp_seconds", outcome.ended_at)]
    if status is Status.SKIPPED and outcome.duration is None:
        return what  # it never began
    families = [*start_families(run), *what]
    if status is not Status.RETRY:  # of which the end is still to come
        families.append(_gauge("last_completion_timestamp_seconds", outcome.ended_at))
        if outcome.duration is not None:
            families.append(_gauge("last_duration_seconds", outcome.duration))
    if status in (Status.SUCCESS, Status.FAILURE):
        families.append(_gauge("last_run_success", status is Status.SUCCESS))
    if outcome.try_number is not None:
        families.append(_gauge("last_try_number", outcome.try_number))
    if outcome.queue_wait is not None:
        families.append(_gauge("last_queue_wait_seconds", outcome.queue_wait))
    if outcome.command is not None:
        families += _command_families(outcome.command)
    return families


def deadline_families(deadline: float) -> list[Family]:
    """A run had not ended at ``deadline``, in Unix seconds. It may go on, and nobody knows how."""
    return [_gauge("last_deadline_missed_timestamp_seconds", deadline)]


def mapped_families(counts: Mapping[str, int], longest: float | None = None) -> list[Family]:
    """What a task that ran once for each of many inputs adds to its end, beside its outcome.

    ``counts`` are its instances by the state in which they ended, those of zero included;
    ``longest`` is in seconds, None where none began.
    """
    families = [_split("last_mapped_runs", "state", counts)]
    if longest is not None:
        families.append(_gauge("last_mapped_longest_seconds", longest))
    return families


def _command_families(end: CommandEnd) -> list[Family]:
    families = [
        _gauge("last_exit_code", end.exit_code),
        _gauge("last_signal", end.signal),
        _gauge("last_timed_out", end.timed_out),
    ]
    if end.cpu_seconds is not None:
        families.append(_split("last_cpu_seconds", "mode", end.cpu_seconds))
    if end.max_rss_bytes is not None:
        families.append(_gauge("last_max_rss_bytes", end.max_rss_bytes))
    if end.io_blocks is not None:
        families.append(_split("last_io_blocks", "op", end.io_blocks))
    if end.context_switches is not None:
        families.append(_split("last_context_switches", "kind", end.context_switches))
    return families


def _gauge(name: str, value: float) -> Family:
    return gauge(PREFIX + name, _HELP[name], value)


def _split(name: str, label: str, values: Mapping[str, float]) -> Family:
    full = PREFIX + name
    samples = [Sample(full, {label: key}, float(value)) for key, value in values.items()]
    return Family(full, _HELP[name], "gauge", samples)
