"""Checks what Celery's workers ask of the gateway: pushes a second, and what each costs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .finding import Finding, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..protocol.groups import Group

_COST = "pushgateway_http_push_duration_seconds"
_TOTALS_EVERY, _TASKS_EVERY = 15.0, 60.0  # seconds, by default
_ACTIVE = 3600.0  # seconds since a task's last push
_MUCH = 0.5  # of one core: a gateway does one push after the other


def check_load(groups: Sequence[Group], scraped: str, now: float) -> Iterator[Finding]:
    """Workers times active tasks, by interval, times what a push costs, as the gateway measures."""
    workers = sum(group.value("celery_worker_up") == 1 for group in groups)
    tasks = sum(
        group.labels.keys() == {"job", "task"} and now - group.push_time < _ACTIVE
        for group in groups
    )
    cost = _cost_of_a_push(scraped)
    if not (workers and tasks and cost):
        return
    pushes = workers / _TOTALS_EVERY + workers * tasks / _TASKS_EVERY
    share = pushes * cost
    text = (
        f"{workers} Celery workers x {tasks} active tasks / {_TASKS_EVERY:g} s, and their totals:"
        f" up to {pushes:.1f} pushes a second, which cost it {cost * 1e3:.1f} ms each:"
        f" {share:.0%} of one core"
    )
    if share <= _MUCH:
        yield ok("load", text)
        return
    yield warn(
        "load",
        f"{text}; the workers will push their tasks' outcomes less often",
        "give install() a longer task_interval, or tasks=; or run the gateway with"
        " --push.disable-consistency-check, which makes pushes cheap, at a price: it then accepts"
        " pushes that break every scrape",
    )


def _cost_of_a_push(scraped: str) -> float:
    """The mean of the gateway's life, in seconds; 0 where it does not say."""
    sums = {"_sum": 0.0, "_count": 0.0}
    for line in scraped.splitlines():
        name, _, rest = line.partition("{")
        if name.startswith(_COST) and (suffix := name.removeprefix(_COST)) in sums:
            sums[suffix] += float(rest.rpartition(" ")[2])
    return sums["_sum"] / sums["_count"] if sums["_count"] else 0.0
