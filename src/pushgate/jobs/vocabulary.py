"""The metrics that tell how a job's runs go: the one vocabulary of all adapters. Pure.

Every metric is a gauge whose name begins with ``batch_job_``. A failed run publishes no
``last_success``, and a POST leaves families it does not carry alone, so the previous success stays.
No other module spells these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.families import Family, Sample, gauge
from .runs import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .runs import CommandEnd, JobRun, Outcome

PREFIX = "batch_job_"

START = f"{PREFIX}last_start_timestamp_seconds"
COMPLETION = f"{PREFIX}last_completion_timestamp_seconds"
SUCCESS = f"{PREFIX}last_success_timestamp_seconds"
FAILURE = f"{PREFIX}last_failure_timestamp_seconds"
RETRY = f"{PREFIX}last_retry_timestamp_seconds"
SKIPPED = f"{PREFIX}last_skipped_timestamp_seconds"
DEADLINE_MISSED = f"{PREFIX}last_deadline_missed_timestamp_seconds"
DURATION = f"{PREFIX}last_duration_seconds"
RUN_SUCCESS = f"{PREFIX}last_run_success"
EXIT_CODE = f"{PREFIX}last_exit_code"
SIGNAL = f"{PREFIX}last_signal"
TIMED_OUT = f"{PREFIX}last_timed_out"
CPU_SECONDS = f"{PREFIX}last_cpu_seconds"
MAX_RSS_BYTES = f"{PREFIX}last_max_rss_bytes"
IO_BLOCKS = f"{PREFIX}last_io_blocks"
CONTEXT_SWITCHES = f"{PREFIX}last_context_switches"
TRY_NUMBER = f"{PREFIX}last_try_number"
QUEUE_WAIT = f"{PREFIX}last_queue_wait_seconds"
MAPPED_RUNS = f"{PREFIX}last_mapped_runs"
MAPPED_LONGEST = f"{PREFIX}last_mapped_longest_seconds"
EXPECTED_INTERVAL = f"{PREFIX}expected_interval_seconds"
GROUP_EXPIRY = f"{PREFIX}group_expiry_timestamp_seconds"
VANISHED_RUNS = f"{PREFIX}vanished_runs"

_HELP = {
    START: "Unix time at which the job was last started.",
    COMPLETION: "Unix time at which the job last ended, however it ended.",
    SUCCESS: "Unix time at which the job last succeeded.",
    FAILURE: "Unix time at which the job last failed.",
    DURATION: "Duration of the job's last run.",
    RUN_SUCCESS: "Whether the job's last run succeeded (1) or failed (0).",
    EXIT_CODE: "Exit code of the last run's command; 128+n if signal n killed it.",
    SIGNAL: "Number of the signal that killed the last run's command, or 0.",
    TIMED_OUT: "Whether the last run's command was ended by its time limit.",
    CPU_SECONDS: "CPU time used by the last run's command.",
    MAX_RSS_BYTES: "Peak resident memory of the last run's command.",
    IO_BLOCKS: "Block input and output operations of the last run's command.",
    CONTEXT_SWITCHES: "Context switches of the last run's command.",
    RETRY: "Unix time at which a try last failed that is tried again.",
    QUEUE_WAIT: "How long the job's last run waited to be started.",
    TRY_NUMBER: "Which try of the task the last run was, from 1.",
    SKIPPED: "Unix time at which a run was last skipped.",
    DEADLINE_MISSED: "Unix time of the last deadline a run missed.",
    MAPPED_RUNS: "How many instances of the mapped task's last run ended in each state.",
    MAPPED_LONGEST: "Duration of the longest of the mapped task's last instances.",
    EXPECTED_INTERVAL: "Period of the job's schedule.",
    GROUP_EXPIRY: "Unix time from which on the group may be deleted.",
    VANISHED_RUNS: "Runs of the job, on its host, that began and never reported their end.",
}

_LAST = {
    Status.SUCCESS: SUCCESS,
    Status.FAILURE: FAILURE,
    Status.RETRY: RETRY,
    Status.SKIPPED: SKIPPED,
}


def start_families(run: JobRun) -> list[Family]:
    """The metrics of a run's start. It is running while ``last_start > last_completion``."""
    families = []
    if run.started_at is not None:
        families.append(_gauge(START, run.started_at))
    if run.expected_interval is not None:
        families.append(_gauge(EXPECTED_INTERVAL, run.expected_interval))
    if run.vanished_runs is not None:
        families.append(_gauge(VANISHED_RUNS, run.vanished_runs))
    if run.expires_at is not None:
        families.append(_gauge(GROUP_EXPIRY, run.expires_at))
    return families


def end_families(run: JobRun, outcome: Outcome) -> list[Family]:
    """The metrics of a run's end. They include the start, whose push may not have arrived."""
    status = Status(outcome.status)  # raises ValueError for anything else
    ended = _gauge(_LAST[status], outcome.ended_at)
    if status is Status.SKIPPED and outcome.duration is None:
        return [ended]  # it never started
    families = [*start_families(run), ended]
    if status is not Status.RETRY:  # a retried run has not ended
        families.append(_gauge(COMPLETION, outcome.ended_at))
        if outcome.duration is not None:
            families.append(_gauge(DURATION, outcome.duration))
    if status in (Status.SUCCESS, Status.FAILURE):
        families.append(_gauge(RUN_SUCCESS, status is Status.SUCCESS))
    if outcome.try_number is not None:
        families.append(_gauge(TRY_NUMBER, outcome.try_number))
    if outcome.queue_wait is not None:
        families.append(_gauge(QUEUE_WAIT, outcome.queue_wait))
    if outcome.command is not None:
        families += _command_families(outcome.command)
    return families


def deadline_families(deadline: float) -> list[Family]:
    """The metric of a run that had not ended at ``deadline``, in Unix seconds."""
    return [_gauge(DEADLINE_MISSED, deadline)]


def mapped_families(counts: Mapping[str, int], longest: float | None = None) -> list[Family]:
    """The further metrics of a mapped task, which runs once for each of many inputs.

    ``counts`` are its instances by the state in which they ended, with 0 where there is none;
    ``longest`` is in seconds, None where no instance started.
    """
    families = [_split(MAPPED_RUNS, "state", counts)]
    if longest is not None:
        families.append(_gauge(MAPPED_LONGEST, longest))
    return families


def _command_families(end: CommandEnd) -> list[Family]:
    families = [
        _gauge(EXIT_CODE, end.exit_code),
        _gauge(SIGNAL, end.signal),
        _gauge(TIMED_OUT, end.timed_out),
    ]
    if end.cpu_seconds is not None:
        families.append(_split(CPU_SECONDS, "mode", end.cpu_seconds))
    if end.max_rss_bytes is not None:
        families.append(_gauge(MAX_RSS_BYTES, end.max_rss_bytes))
    if end.io_blocks is not None:
        families.append(_split(IO_BLOCKS, "op", end.io_blocks))
    if end.context_switches is not None:
        families.append(_split(CONTEXT_SWITCHES, "kind", end.context_switches))
    return families


def _gauge(name: str, value: float) -> Family:
    return gauge(name, _HELP[name], value)


def _split(name: str, label: str, values: Mapping[str, float]) -> Family:
    samples = [Sample(name, {label: key}, float(value)) for key, value in values.items()]
    return Family(name, _HELP[name], "gauge", samples)
