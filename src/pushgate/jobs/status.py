"""How each job is doing, of what a gateway holds. Pure.

Enters: groups and the time by the gateway's clock. Leaves: a :class:`JobRow` for each group that
has the vocabulary's metrics, the worst first. What counts as bad is in health.py, where the
alert rules have it from as well.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import health
from .vocabulary import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.groups import Group

__all__ = ("JobRow", "job_rows", "short_name")

_SHORT = {  # of the adapters' grouping keys
    ("job",): "{job}",
    ("job", "task"): "{job} {task}",
    ("job", "dag_id"): "{job} {dag_id}",
    ("job", "dag_id", "task_id"): "{job} {dag_id}/{task_id}",
}


@dataclass(frozen=True)
class JobRow:
    """One job. Times are Unix seconds, spans seconds; None where not known.

    ``outcome`` is one of succeeded, failed, running, retrying, skipped and unknown, ``detail`` says
    more of it ("exit 3"), ``at`` when that was; for a run that goes on, when it began. ``due`` is
    when the next run is expected. ``failed`` stays true until the job succeeds, also while it
    runs. ``vanished`` counts runs that never told their end. ``numbers`` are all of the
    vocabulary's metrics that have a single value, without their prefix.
    """

    labels: Mapping[str, str]
    outcome: str
    detail: str
    at: float | None
    duration: float | None
    due: float | None
    overdue: bool
    stuck: bool
    failed: bool
    never_succeeded: bool
    missed_deadline: bool
    push_failing: bool
    stale: bool
    vanished: int
    push_time: float
    push_failure_time: float
    numbers: Mapping[str, float]

    @property
    def name(self) -> str:
        """The job in a few words."""
        return short_name(self.labels)

    @property
    def bad(self) -> bool:
        """Whether somebody should look: it failed, is overdue or stuck, or never succeeded."""
        return self.failed or self.overdue or self.stuck or self.never_succeeded

    @property
    def doubtful(self) -> bool:
        """Whether the gateway's picture of it may be wrong, or it is late."""
        return self.push_failing or self.stale or self.missed_deadline


def job_rows(groups: Iterable[Group], *, now: float) -> list[JobRow]:
    """The jobs among ``groups``, the worst first; groups without an outcome are left out."""
    found = ((group, _numbers(group)) for group in groups)
    rows = [
        _row(group, numbers, now)
        for group, numbers in found
        if any(name.startswith("last_") for name in numbers)
    ]
    return sorted(rows, key=lambda row: (_rank(row), row.name))


def short_name(labels: Mapping[str, str]) -> str:
    """A grouping key in a few words: ``backup``, ``airflow dag/task``, ``celery shop.charge``."""
    first = tuple(name for name in ("job", "dag_id", "task_id", "task") if labels.get(name))
    while first not in _SHORT and first:
        first = first[:-1]
    short = _SHORT.get(first, "").format_map(labels)
    rest = ",".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in labels.items()
        if name not in first
    )
    return f"{short}{{{rest}}}" if rest else short


def _numbers(group: Group) -> dict[str, float]:
    return {
        family.name.removeprefix(PREFIX): family.samples[0].value
        for family in group.families
        if family.name.startswith(PREFIX) and len(family.samples) == 1
        # Anybody may push metrics of our names, and a NaN is neither before nor after now.
        if math.isfinite(family.samples[0].value)
    }


def _row(group: Group, numbers: Mapping[str, float], now: float) -> JobRow:
    start, end = numbers.get(_START), numbers.get(_END)
    interval, skipped = numbers.get("expected_interval_seconds"), numbers.get(_SKIPPED)
    retry, duration = numbers.get(_RETRY), numbers.get("last_duration_seconds")
    outcome, detail, at = _outcome(numbers)
    return JobRow(
        labels=group.labels,
        outcome=outcome,
        detail=detail,
        at=at,
        duration=duration,
        due=health.due_at(interval, start, skipped),
        overdue=health.is_overdue(now, interval, start, skipped),
        stuck=health.is_stuck(now, start, end, duration, retry),
        failed=health.is_failed(numbers.get("last_run_success")),
        never_succeeded=health.never_succeeded(numbers.get(_FAILURE), numbers.get(_SUCCESS)),
        missed_deadline=numbers.get(_DEADLINE, 0.0) > (end or 0.0),
        push_failing=health.is_push_failing(group.push_time, group.push_failure_time),
        stale=health.is_stale(
            now,
            group.push_time,
            group.push_failure_time,
            interval,
            numbers.get("group_expiry_timestamp_seconds"),
        ),
        vanished=int(numbers.get("vanished_runs", 0)),
        push_time=group.push_time,
        push_failure_time=group.push_failure_time,
        numbers=dict(numbers),
    )


_START = "last_start_timestamp_seconds"
_END = "last_completion_timestamp_seconds"
_SUCCESS = "last_success_timestamp_seconds"
_FAILURE = "last_failure_timestamp_seconds"
_RETRY = "last_retry_timestamp_seconds"
_SKIPPED = "last_skipped_timestamp_seconds"
_DEADLINE = "last_deadline_missed_timestamp_seconds"


def _outcome(numbers: Mapping[str, float]) -> tuple[str, str, float | None]:
    start, end = numbers.get(_START), numbers.get(_END)
    retry, skipped = numbers.get(_RETRY), numbers.get(_SKIPPED)
    if health.is_retrying(start, end, retry):
        tried = numbers.get("last_try_number")
        return "retrying", f"try {tried:.0f}" if tried else "", retry
    if health.is_running(start, end, retry):
        return "running", "", start
    if skipped is not None and skipped >= max(start or 0.0, end or 0.0):
        return "skipped", "", skipped
    success = numbers.get("last_run_success")
    if success == 1:
        return "succeeded", "", end
    if success == 0:
        return "failed", _why(numbers), end
    return "unknown", "", end


def _why(numbers: Mapping[str, float]) -> str:
    if numbers.get("last_timed_out") == 1:
        return "timed out"
    if signal := numbers.get("last_signal"):
        return f"signal {signal:.0f}"
    if code := numbers.get("last_exit_code"):
        return f"exit {code:.0f}"
    return ""


def _rank(row: JobRow) -> int:
    order = (
        row.bad and not row.stale,
        row.bad,  # one that nobody pushes any more is rather forgotten than urgent
        row.doubtful,
        row.outcome == "retrying",
        row.outcome == "running",
        True,
    )
    return order.index(True)
