"""Checks the groups that a gateway holds: which harm others, and which are stale. Pure."""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING

from ..jobs import health
from ..jobs.staleness import stale_groups
from ..protocol.names import selector
from .finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..protocol.groups import Group

_MANY = 100  # values of one label, in the groups of one job
_OF_JOBS = ("job", "origin", "dag_id", "task_id", "task")  # labels that name a job, not a run
_SHOWN = 3  # of a list


def check_groups(groups: Sequence[Group], now: float) -> Iterator[Finding]:
    """All that the groups show. ``now`` is by the gateway's clock."""
    yield ok("groups", f"it holds {len(groups)}")
    yield from _check_families(groups)
    yield from _check_pushes(groups)
    yield from _check_numbers(groups)
    if stale := stale_groups(groups, now=now, older_than=health.STALE_AFTER):
        yield warn(
            "groups",
            f"{len(stale)} are stale: {_some([entry.group.labels for entry in stale])}",
            "pushgate prune --older-than 7d --dry-run lists them, without --dry-run it deletes",
        )


def _check_families(groups: Sequence[Group]) -> Iterator[Finding]:
    types: dict[str, dict[str, Group]] = defaultdict(dict)
    helps: dict[str, dict[str, Group]] = defaultdict(dict)
    for group in groups:
        for family in group.families:
            types[family.name].setdefault(family.type, group)
            helps[family.name].setdefault(family.documentation, group)
    for name, by_type in types.items():
        if len(by_type) > 1:
            kinds = ", ".join(f"{kind} in {selector(g.labels)}" for kind, g in by_type.items())
            yield fail(
                "groups",
                f"{name} has two types: {kinds}; the gateway refuses pushes because of it",
                "rename one of the metrics, and delete its group",
            )
    differing = [name for name, by_help in helps.items() if len(by_help) > 1]
    if differing:
        yield ok(
            "groups",
            f"{len(differing)} metrics have several help texts, and a scrape shows one of them:"
            f" {', '.join(differing[:_SHOWN])}{', …' if len(differing) > _SHOWN else ''}",
        )


def _check_pushes(groups: Sequence[Group]) -> Iterator[Finding]:
    failing = [group.labels for group in groups if health.is_push_failing(group)]
    if failing:
        yield warn(
            "groups",
            f"the last push of {len(failing)} was refused: {_some(failing)}",
            "see the log of the job that pushes them, or the gateway's log",
        )


def _check_numbers(groups: Sequence[Group]) -> Iterator[Finding]:
    jobs: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        jobs[group.labels.get("job", "")].append(group)
    for job, held in jobs.items():
        if len(held) <= _MANY:
            continue
        names = {name for group in held for name in group.labels}.difference(_OF_JOBS)
        values = {name: len({group.labels.get(name) for group in held}) for name in sorted(names)}
        name, number = max(values.items(), key=itemgetter(1), default=("", 0))
        if number <= _MANY:  # there are that many tasks
            continue
        yield warn(
            "groups",
            f"the job {job!r} has {len(held)} groups, with {number} values of the label {name}",
            "if the label names a run and not a job, leave it out of the grouping key: groups never"
            " end by themselves, and each makes every push slower",
        )


def _some(labels: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(map(selector, labels[:_SHOWN])) + (", …" if len(labels) > _SHOWN else "")
