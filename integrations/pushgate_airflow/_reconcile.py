"""What the gateway holds of this Airflow, made to agree with what its database has.

- At a run's end, the groups of tasks that the DAG no longer has are deleted, and the own metrics of
  a mapped task's instances are merged into the task's.
- Of a paused DAG, and of one whose file is gone, the interval is withdrawn: no run is due.
- The groups of a deleted DAG, or of one whose file is gone for a day, are deleted.

Only a scheduler does this, in the thread of its sink. It looks at the database each half a minute,
and reads the gateway where something has changed, until nothing is left to do.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import (
    METRIC_PREFIX,
    Family,
    GroupingKey,
    JobRun,
    RateLimitedLogger,
    Report,
    Sample,
    own_metrics_key,
    start_families,
)
from pushgate_airflow._configuration import configuration
from pushgate_airflow._group_labels import is_instance_key
from pushgate_airflow._metrics_of_task import merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from pushgate import Gateway, Group
    from pushgate_airflow._scheduler_events import RunEnd

_DAY = 86_400.0
# Seconds. A task that goes on after its DAG was paused tells the interval again when it ends.
_EVERY = 300.0
_READING_TIMEOUT = 15.0  # seconds
_READING_SHARE = 20.0  # reading takes a twentieth of the time at most
_CLOCKS_DIFFER = 60.0  # seconds

_log = RateLimitedLogger(interval=3600.0)


class _Dags(NamedTuple):
    """The DAGs of the database: those that are alive, those of which no run is due, the gone."""

    alive: Set[str]
    resting: Set[str]
    gone: Set[str]


class Reconciler:
    """Yields what is to be pushed and deleted. ``gateway`` is called in the sink's thread."""

    def __init__(self, gateway: Callable[[], Gateway]) -> None:
        self.is_stopped = False
        self._gateway = gateway
        self._ends: dict[str, RunEnd] = {}
        self._known: set[str] = set()
        self._settled: _Dags | None = None
        self._look_again_at = self._may_read_at = 0.0

    def run_ended(self, end: RunEnd) -> None:
        """A run ended, that no later one has overtaken."""
        self._ends[end.dag_id] = end

    def reports(self) -> list[Report]:
        """What is to be done now. Raises nothing."""
        if self.is_stopped:
            return []
        try:
            return self._reports(_dags(self._known))
        except Exception as error:  # the database's, or the gateway is away: there is a next time
            _log.warning(f"the gateway is not compared with Airflow's DAGs: {error}", subject="")
            return []

    def _reports(self, dags: _Dags) -> list[Report]:
        ends, now = dict(self._ends), time.monotonic()
        has_news = dags != self._settled or ends or now >= self._look_again_at
        wanted = dags.resting | dags.gone | ends.keys()
        if not wanted:
            self._settled = dags
        if not has_news or not wanted or now < self._may_read_at:
            return []
        groups = self._read(wanted)
        found = [*self._of_dags(groups, dags)]
        for dag_id, end in ends.items():
            mine = [group for group in groups if group.labels["dag_id"] == dag_id]
            of_run = [*_of_run_end(mine, end)]
            if not of_run and self._ends.get(dag_id) is end:
                del self._ends[dag_id]
            found += of_run
        if not found:
            self._settled, self._look_again_at = dags, time.monotonic() + _EVERY
        return found

    def _read(self, dag_ids: Set[str]) -> list[Group]:
        """The groups of these DAGs, with other families than ours only where they are needed."""
        began, job = time.monotonic(), configuration().job
        found = [
            group if is_instance_key(group.labels) else group.only(METRIC_PREFIX)
            for group in self._gateway().iter_groups(timeout=_READING_TIMEOUT)
            if group.labels.get("job") == job and group.labels.get("dag_id") in dag_ids
        ]
        ended = time.monotonic()
        self._may_read_at = ended + _READING_SHARE * (ended - began)
        return found

    def _of_dags(self, groups: list[Group], dags: _Dags) -> Iterator[Report]:
        gone = {group.labels["dag_id"] for group in groups} & dags.gone
        if len(gone) > max(1, len(dags.alive)):
            _log.warning(
                f"{len(gone)} DAGs are gone, which is more than there are left: their groups stay;"
                " if this is right, delete them by 'pushgate delete'",
                subject="gone",
            )
            gone = set()
        for group in groups:
            if group.labels["dag_id"] in gone and _is_selected(group):
                yield _deletion(group)
            elif group.labels["dag_id"] in dags.resting | dags.gone:
                yield from _without_interval(group)


def prepare() -> None:
    """Import what the thread needs, before it starts."""
    import airflow.models.dag
    import airflow.utils.session  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    configure_mappers()


def _dags(known: set[str]) -> _Dags:
    """``known`` are the DAGs that were seen before, and gets those that are seen now."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.is_stale, DagModel.last_parsed_time)
    with create_session() as session:
        rows = session.execute(select(*columns)).all()
    known |= {row.dag_id for row in rows}
    now = datetime.now(UTC).timestamp()
    return _Dags(
        alive={row.dag_id for row in rows if not row.is_stale},
        resting={row.dag_id for row in rows if row.is_paused or row.is_stale},
        gone=(known - {row.dag_id for row in rows})
        | {
            row.dag_id
            for row in rows
            if row.is_stale
            and row.last_parsed_time is not None
            and now - row.last_parsed_time.timestamp() > _DAY
        },
    )


def _without_interval(group: Group) -> Iterator[Report]:
    """No run is due. Told each day, or the group would look stale."""
    key = _key(group)
    families = start_families(JobRun(key, None, expected_interval=math.nan))
    interval = group.value(families[0].name)
    if interval is not None and (not math.isnan(interval) or time.time() - group.push_time > _DAY):
        yield Report("POST", key, families, time.time())


def _of_run_end(groups: list[Group], end: RunEnd) -> Iterator[Report]:
    began = end.started_at or 0.0
    instances: dict[str, list[Group]] = {}
    for group in groups:
        labels, is_instance = group.labels, is_instance_key(group.labels)
        if labels.keys() - {"origin"} != {"job", "dag_id", "task_id"} or not _is_selected(group):
            continue
        task_id = labels["task_id"]
        is_needed = end.is_cut or task_id in end.task_ids | end.of_other_runs
        if is_instance and task_id not in end.of_other_runs:
            instances.setdefault(task_id, []).append(group)
        elif labels.get("origin", "job") == "job" and not is_needed and group.push_time < began:
            yield _deletion(group)
    for of_task in instances.values():
        yield from _merged_instances(of_task, began - _CLOCKS_DIFFER)


def _merged_instances(groups: list[Group], began: float) -> Iterator[Report]:
    """The task's own metrics: those of all the instances of the run that began then."""
    groups = sorted(groups, key=lambda group: group.push_time)
    of_run = [group for group in groups if group.push_time >= began]
    families = merged(family for group in of_run for family in _families(group))
    if families:
        key = GroupingKey(
            groups[0].labels["job"],
            {name: groups[0].labels[name] for name in ("dag_id", "task_id")},
        )
        yield Report("PUT", own_metrics_key(key), families, time.time())
    yield from map(_deletion, groups)


def _families(group: Group) -> Iterator[Family]:
    """As a job pushes them: without what the gateway adds."""
    for family in group.families:
        if family.name.startswith(METRIC_PREFIX):
            continue
        samples = []
        for name, labels, value, _ in family.samples:
            own = {k: v for k, v in labels.items() if v and k not in group.labels}
            samples.append(Sample(name, own, value))
        is_counter = family.type == "counter"
        name = family.name.removesuffix("_total") if is_counter else family.name
        yield Family(name, family.documentation, family.type, samples)


def _is_selected(group: Group) -> bool:
    return configuration().selects(group.labels["dag_id"], group.labels.get("task_id"))


def _deletion(group: Group) -> Report:
    return Report("DELETE", _key(group), (), time.time())


def _key(group: Group) -> Any:
    labels = dict(group.labels)
    return GroupingKey(labels.pop("job"), labels)
