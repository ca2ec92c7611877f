"""How each job is doing, from the groups that a gateway holds. Pure.

:func:`job_rows` makes a :class:`JobRow` of each group with an outcome, the worst first. The
verdicts are those of ``health.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING

from ..protocol.names import selector
from ..protocol.timestamps import METRIC_PREFIX
from . import health
from .vocabulary import (
    COMPLETION,
    DURATION,
    EXIT_CODE,
    EXPECTED_INTERVAL,
    RETRY,
    RUN_SUCCESS,
    SIGNAL,
    SKIPPED,
    START,
    SUCCESS,
    TIMED_OUT,
    TRY_NUMBER,
    UPSTREAM_FAILED,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.groups import Group

_SHORT = {  # of the adapters' grouping keys
    ("job",): "{job}",
    ("job", "task"): "{job} {task}",
    ("job", "dag_id"): "{job} {dag_id}",
    ("job", "dag_id", "task_id"): "{job} {dag_id}/{task_id}",
}


@dataclass(frozen=True)
class JobRow:
    """One job. Times are Unix seconds, spans seconds; None where not known.

    ``outcome`` is one of succeeded, failed, running, retrying, skipped, upstream failed and
    unknown; ``detail`` adds to it ("exit 3"). ``at`` is when that was; of a run that goes on, when
    it started. ``due`` is when the next run is expected, ``interval`` the schedule's period.
    ``failed`` stays true until the job succeeds, also while it runs. ``ends_missing``: runs start,
    and none reports its end. ``never_ended``: a run goes on, and none has ever ended, so that it
    can't be told whether they are killed. ``vanished``: it was noticed within a day that a run had
    never reported its end. ``clock_ahead``: by how many seconds the last start or end is later
    than the last push by the gateway's clock, 0 for a minute or less. ``paused_until`` is None
    where it is not paused now; a job that is paused is not bad, whatever it does. ``info`` says
    where the last run ended and why it failed, ``numbers`` are the single values of the vocabulary,
    without the prefix of their names.
    """

    labels: Mapping[str, str]
    outcome: str
    detail: str
    at: float | None
    duration: float | None
    last_success: float | None
    due: float | None
    interval: float | None
    paused_until: float | None
    overdue: bool
    stuck: bool
    ends_missing: bool
    never_ended: bool
    failed: bool
    never_succeeded: bool
    missed_deadline: bool
    push_failing: bool
    stale: bool
    vanished: bool
    clock_ahead: float
    push_time: float
    push_failure_time: float
    numbers: Mapping[str, float]
    info: Mapping[str, str]

    @property
    def name(self) -> str:
        """The job in a few words."""
        return short_name(self.labels)

    @property
    def bad(self) -> bool:
        """Whether it needs a look: it failed, is overdue, stuck or killed, or never succeeded."""
        return self.paused_until is None and (
            self.failed or self.overdue or self.stuck or self.ends_missing or self.never_succeeded
        )

    @property
    def doubtful(self) -> bool:
        """Whether the gateway's picture of it may be wrong, or it is late."""
        return (
            self.push_failing
            or self.stale
            or self.missed_deadline
            or self.vanished
            or self.clock_ahead > 0
        )


def job_rows(groups: Iterable[Group], *, now: float) -> list[JobRow]:
    """The jobs among ``groups``, the worst first; groups without an outcome are left out."""
    rows = [
        _row(group, numbers, now)
        for group, numbers in ((group, health.numbers_of(group)) for group in groups)
        if any(name.startswith(f"{METRIC_PREFIX}last_") for name in numbers)
    ]
    return sorted(rows, key=lambda row: (_rank(row), row.name))


def short_name(labels: Mapping[str, str]) -> str:
    """A grouping key in a few words: ``backup``, ``airflow dag/task``, ``celery shop.charge``."""
    first = tuple(name for name in ("job", "dag_id", "task_id", "task") if labels.get(name))
    while first not in _SHORT and first:
        first = first[:-1]
    short = _SHORT.get(first, "").format_map(labels)
    rest = {name: value for name, value in labels.items() if name not in first}
    return short + (selector(rest) if rest else "")


def _row(group: Group, numbers: Mapping[str, float], now: float) -> JobRow:
    outcome, detail, at = _outcome(numbers)
    return JobRow(
        labels=group.labels,
        outcome=outcome,
        detail=detail,
        at=at,
        duration=numbers.get(DURATION),
        last_success=numbers.get(SUCCESS),
        due=health.due_at(numbers),
        interval=numbers.get(EXPECTED_INTERVAL),
        paused_until=health.paused_until(numbers, now),
        overdue=health.is_overdue(numbers, now),
        stuck=health.is_stuck(numbers, now),
        ends_missing=health.ends_missing(numbers) and not health.may_still_end(numbers, now),
        never_ended=health.is_running(numbers) and not health.has_ended(numbers),
        failed=health.is_failed(numbers),
        never_succeeded=health.never_succeeded(numbers),
        missed_deadline=health.missed_deadline(numbers),
        push_failing=health.is_push_failing(group),
        stale=health.is_stale(group, numbers, now),
        vanished=health.has_vanished(numbers, now),
        clock_ahead=health.clock_ahead(group, numbers),
        push_time=group.push_time,
        push_failure_time=group.push_failure_time,
        numbers={intern(name.removeprefix(METRIC_PREFIX)): v for name, v in numbers.items()},
        info=health.run_info(group),
    )


def _outcome(numbers: Mapping[str, float]) -> tuple[str, str, float | None]:
    if health.is_retrying(numbers):
        tried = numbers.get(TRY_NUMBER)
        return "retrying", f"try {tried:.0f}" if tried else "", numbers[RETRY]
    if health.is_running(numbers):
        return "running", "", numbers[START]
    if health.is_skipped(numbers):
        return "skipped", "", numbers[SKIPPED]
    if health.is_upstream_failed(numbers):
        return "upstream failed", "", numbers[UPSTREAM_FAILED]
    end = numbers.get(COMPLETION)
    if health.is_failed(numbers):
        return "failed", _reason(numbers), end
    return "succeeded" if numbers.get(RUN_SUCCESS) == 1 else "unknown", "", end


def _reason(numbers: Mapping[str, float]) -> str:
    if numbers.get(TIMED_OUT) == 1:
        return "timed out"
    if signal := numbers.get(SIGNAL):
        return f"signal {signal:.0f}"
    if code := numbers.get(EXIT_CODE):
        return f"exit {code:.0f}"
    return ""


def _rank(row: JobRow) -> int:
    order = (
        row.bad and not row.stale,
        row.bad,  # a stale group is more likely forgotten than urgent
        row.doubtful,
        row.outcome == "retrying",
        row.outcome == "running",
        row.paused_until is not None,
        True,
    )
    return order.index(True)
