"""The aggregator of a RelaySink, for any framework with many processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..delivery.report import deadline_report, end_reports, heartbeat_report, start_report
from ..jobs.runs import CommandEnd, JobRun, Outcome, Status
from ..protocol.families import Family, Sample
from ..protocol.grouping_key import GroupingKey
from .aggregator import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..delivery.report import Report


def create(_options: Mapping[str, Any]) -> RunAggregator:
    """The factory that a Relay names."""
    return RunAggregator()


class RunAggregator:
    """An Aggregator for the records of a RelaySink."""

    def feed(self, record: Any, now: float) -> Iterable[Change]:  # noqa: ARG002
        """One run's news: ``[what, run, …]``."""
        what, run, *rest = record
        return [
            Change(report.method, report.key, report.families)  # type: ignore[arg-type]
            for report in _reports(what, _run(run), rest)
        ]

    def dropped(self, count: int) -> Iterable[Change]:
        """What these told is lost."""
        logging.getLogger("pushgate").warning("%d reports are lost: the pipe was full", count)
        return ()

    def abandoned(self, now: float) -> Iterable[Change]:  # noqa: ARG002
        """Nothing: what it wrote arrives."""
        return ()

    def closed(self, now: float) -> Iterable[Change]:  # noqa: ARG002
        """Nothing: a run that did not end has no end."""
        return ()

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> None:
        """The pusher logs what fails."""


def run_fields(run: JobRun) -> list[object]:
    """A run as JSON takes it."""
    return [list(run.key.labels.items()), run.key.utf8_names, *run[1:]]


def outcome_fields(outcome: Outcome) -> list[object]:
    """An outcome as JSON takes it."""
    return [Status(outcome.status).value, *outcome[1:]]


def family_fields(family: Any) -> list[object]:
    """A metric family as JSON takes it."""
    samples = [[s.name, dict(s.labels), float(s.value)] for s in family.samples]
    return [family.name, family.documentation, family.type, samples]


def _reports(what: str, run: JobRun, rest: list[Any]) -> Iterable[Report]:
    if what == "started":
        return [start_report(run)]
    if what == "alive":
        return [heartbeat_report(run)]
    if what == "missed_deadline":
        return [deadline_report(run, *rest)]
    outcome = Outcome(*rest[0])
    command = outcome.command and CommandEnd(*outcome.command)
    outcome = outcome._replace(status=Status(outcome.status), command=command)
    outcome_report, *own = end_reports(run, outcome, _families(rest[1:]))
    return own if what == "own" else [outcome_report]


def _families(rest: list[Any]) -> list[Family] | None:
    if not rest:
        return None
    return [
        Family(name, documentation, kind, [Sample(*sample) for sample in samples])
        for name, documentation, kind, samples in rest[0]
    ]


def _run(fields: list[Any]) -> JobRun:
    labels, utf8_names, *others = fields
    (_, job), *rest = labels
    return JobRun(GroupingKey(job, dict(rest), utf8_names=utf8_names), *others)
