"""The metrics that tell how a job's runs go: the one vocabulary of all adapters. Pure.

Every metric is a gauge whose name begins with ``batch_job_``. A failed run publishes no
``last_success``, and a POST leaves families it does not carry alone, so the previous success stays.
No other module spells these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.families import Family, Sample, gauge
from ..protocol.timestamps import METRIC_PREFIX
from .runs import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .runs import CommandEnd, JobRun, Outcome

_HELP: dict[str, str] = {}


def _metric(name: str, documentation: str) -> str:
    _HELP[METRIC_PREFIX + name] = documentation
    return METRIC_PREFIX + name


START = _metric("last_start_timestamp_seconds", "Unix time at which the job was last started.")
COMPLETION = _metric(
    "last_completion_timestamp_seconds", "Unix time at which the job last ended, however it ended."
)
SUCCESS = _metric("last_success_timestamp_seconds", "Unix time at which the job last succeeded.")
FAILURE = _metric("last_failure_timestamp_seconds", "Unix time at which the job last failed.")
DURATION = _metric("last_duration_seconds", "Duration of the job's last run.")
RUN_SUCCESS = _metric("last_run_success", "Whether the job's last run succeeded (1) or failed (0).")
EXIT_CODE = _metric(
    "last_exit_code", "Exit code of the last run's command; 128+n if signal n killed it."
)
SIGNAL = _metric("last_signal", "Number of the signal that killed the last run's command, or 0.")
TIMED_OUT = _metric("last_timed_out", "Whether the last run's command was ended by its time limit.")
CPU_SECONDS = _metric("last_cpu_seconds", "CPU time used by the last run's command.")
MAX_RSS_BYTES = _metric("last_max_rss_bytes", "Peak resident memory of the last run's command.")
IO_BLOCKS = _metric(
    "last_io_blocks", "Block input and output operations of the last run's command."
)
CONTEXT_SWITCHES = _metric("last_context_switches", "Context switches of the last run's command.")
RETRY = _metric(
    "last_retry_timestamp_seconds", "Unix time at which a try last failed that is tried again."
)
QUEUE_WAIT = _metric("last_queue_wait_seconds", "How long the job's last run waited to be started.")
TRY_NUMBER = _metric("last_try_number", "Which try of the task the last run was, from 1.")
SKIPPED = _metric("last_skipped_timestamp_seconds", "Unix time at which a run was last skipped.")
UPSTREAM_FAILED = _metric(
    "last_upstream_failed_timestamp_seconds",
    "Unix time at which a run last was not started, because a job before it had failed.",
)
DEADLINE_MISSED = _metric(
    "last_deadline_missed_timestamp_seconds", "Unix time of the last deadline a run missed."
)
MAPPED_RUNS = _metric(
    "last_mapped_runs", "How many instances of the mapped task's last run ended in each state."
)
MAPPED_LONGEST = _metric(
    "last_mapped_longest_seconds", "Duration of the longest of the mapped task's last instances."
)
EXPECTED_INTERVAL = _metric("expected_interval_seconds", "Period of the job's schedule.")
NEXT_RUN = _metric(
    "next_run_timestamp_seconds",
    "Unix time at which the job's next run is expected, where its schedule says it exactly.",
)
PAUSED_UNTIL = _metric(
    "paused_until_timestamp_seconds", "Unix time until which nobody is to be alarmed by the job."
)
GROUP_EXPIRY = _metric(
    "group_expiry_timestamp_seconds", "Unix time from which on the group may be deleted."
)
VANISHED = _metric(
    "last_vanished_timestamp_seconds",
    "Unix time at which it was last noticed that a run had started and never reported its end.",
)
RUN_INFO = _metric(
    "last_run_info",
    "Always 1. The labels say where the job's last run ended, and of one that failed also which run"
    " it was, why it failed, and where its log is.",
)
RUN_INFO_LABELS = {"host": 255, "run_id": 250, "url": 1000, "exception": 100}
"""The labels of ``last_run_info``, and how many characters each may have at most."""

_LAST = {
    Status.SUCCESS: SUCCESS,
    Status.FAILURE: FAILURE,
    Status.RETRY: RETRY,
    Status.SKIPPED: SKIPPED,
    Status.UPSTREAM_FAILED: UPSTREAM_FAILED,
}

_NOT_STARTED = (Status.SKIPPED, Status.UPSTREAM_FAILED)  # with a duration, it had started


def start_families(run: JobRun) -> list[Family]:
    """The metrics of a run's start. It is running while ``last_start > last_completion``."""
    return _gauges(
        {
            START: run.started_at,
            EXPECTED_INTERVAL: run.expected_interval,
            NEXT_RUN: run.next_run_at,
            VANISHED: run.vanished_at,
            GROUP_EXPIRY: run.expires_at,
        }
    )


def end_families(run: JobRun, outcome: Outcome) -> list[Family]:
    """The metrics of a run's end. They include the start, whose push may not have arrived."""
    status = Status(outcome.status)  # raises ValueError for anything else
    if status in _NOT_STARTED and outcome.duration is None:
        return _gauges({_LAST[status]: outcome.ended_at, NEXT_RUN: run.next_run_at})
    has_ended = status is not Status.RETRY
    families = start_families(run) + _gauges(
        {
            _LAST[status]: outcome.ended_at,
            COMPLETION: outcome.ended_at if has_ended else None,
            DURATION: _seconds(outcome.duration) if has_ended else None,
            RUN_SUCCESS: {Status.SUCCESS: 1.0, Status.FAILURE: 0.0}.get(status),
            TRY_NUMBER: outcome.try_number,
            QUEUE_WAIT: _seconds(outcome.queue_wait),
            TIMED_OUT: outcome.timed_out,
        }
    )
    if outcome.command:
        families += _command_families(outcome.command)
    return families + _run_info(run, status, outcome.exception or _words(outcome.command))


def _seconds(span: float | None) -> float | None:
    """Of two clocks, or of one that was set back, the difference may be negative: it is 0 then."""
    return None if span is None else max(0.0, span)


def deadline_families(deadline: float) -> list[Family]:
    """The metric of a run that had not ended at ``deadline``, in Unix seconds."""
    return _gauges({DEADLINE_MISSED: deadline})


def pause_families(until: float) -> list[Family]:
    """The metric of a job that is paused until then, in Unix seconds; 0 ends the pause."""
    return _gauges({PAUSED_UNTIL: until})


def mapped_families(counts: Mapping[str, int], longest: float | None = None) -> list[Family]:
    """The further metrics of a mapped task, which runs once for each of many inputs.

    ``counts`` are its instances by the state in which they ended, with 0 where there is none;
    ``longest`` is in seconds, None where no instance started.
    """
    return [_split(MAPPED_RUNS, "state", counts), *_gauges({MAPPED_LONGEST: longest})]


def _run_info(run: JobRun, status: Status, exception: str) -> list[Family]:
    """Where to look; see docs/adr/0020. Every other value makes a new series.

    So a success tells the host alone: a job that goes well makes no series with each run. A label
    that the group has already is left out.
    """
    known = {"host": run.host}
    if status in (Status.FAILURE, Status.RETRY):
        known |= {"run_id": run.run_id, "url": _shown_url(run.url), "exception": exception}
    labels = {
        name: text
        for name, limit in RUN_INFO_LABELS.items()
        if name not in run.key.labels and (text := _one_line(known.get(name, ""), limit))
    }
    # Also without a label: it replaces what the run before has told.
    return [gauge(RUN_INFO, _HELP[RUN_INFO], 1, labels)]


def _words(end: CommandEnd | None) -> str:
    """How a command ended that failed."""
    if end is None:
        return ""
    if end.timed_out:
        return "timed out"
    return f"signal {end.signal}" if end.signal else f"exit {end.exit_code}"


def _one_line(text: str, limit: int) -> str:
    """``text`` without what a gateway may refuse, and not longer than ``limit``."""
    return "".join(char if char.isprintable() else "?" for char in text[:limit]).strip()


def _shown_url(url: str) -> str:
    """Without a password. A part of a URL is of no use, so it is all or nothing."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    url = scheme + separator + host.rpartition("@")[2] + slash + path
    return url if len(url) <= RUN_INFO_LABELS["url"] else ""


def _command_families(end: CommandEnd) -> list[Family]:
    families = _gauges(
        {
            EXIT_CODE: end.exit_code,
            SIGNAL: end.signal,
            TIMED_OUT: end.timed_out,
            MAX_RSS_BYTES: end.max_rss_bytes,
        }
    )
    for name, label, values in (
        (CPU_SECONDS, "mode", end.cpu_seconds),
        (IO_BLOCKS, "op", end.io_blocks),
        (CONTEXT_SWITCHES, "kind", end.context_switches),
    ):
        if values is not None:
            families.append(_split(name, label, values))
    return families


def _gauges(values: Mapping[str, float | None]) -> list[Family]:
    """Those that have a value."""
    return [gauge(name, _HELP[name], v) for name, v in values.items() if v is not None]


def _split(name: str, label: str, values: Mapping[str, float]) -> Family:
    samples = [Sample(name, {label: key}, float(value)) for key, value in values.items()]
    return Family(name, _HELP[name], "gauge", samples)
