"""What the sensor reads from Dagster's database beside the runs that changed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from dagster import DagsterEventType, DagsterRunStatus, DefaultScheduleStatus, RunsFilter

from pushgate_dagster._dagster_runs import SCHEDULE, partition_date

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from dagster import (
        AssetKey,
        DagsterEvent,
        DagsterInstance,
        DagsterRun,
        RepositoryDefinition,
        RunRecord,
        ScheduleDefinition,
    )

_STARTED_OR_ENDED = [
    DagsterRunStatus.STARTED,
    DagsterRunStatus.SUCCESS,
    DagsterRunStatus.FAILURE,
    DagsterRunStatus.CANCELED,
]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
_QUEUED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
_LATER_RUNS = 100  # among which one of a later partition is looked for


class RunDatabase:
    """``place`` is the sensor's own code location and repository."""

    def __init__(
        self,
        instance: DagsterInstance,
        repository: RepositoryDefinition | None,
        place: tuple[str, str],
    ) -> None:
        self._instance = instance
        self._repository = repository
        self._place = place

    def changed_runs(self, since: float, limit: int) -> Sequence[RunRecord]:
        """Those that started, ended or got a tag, the earliest change first."""
        records: Sequence[RunRecord] = self._instance.get_run_records(
            RunsFilter(statuses=_STARTED_OR_ENDED, updated_after=_datetime(since)),
            limit=limit,
            order_by="update_timestamp",
            ascending=True,
        )
        return records

    def queued_runs(self, after: float, before: float) -> Sequence[RunRecord]:
        """Those that wait for their start, of those that were created between these times."""
        records: Sequence[RunRecord] = self._instance.get_run_records(
            RunsFilter(
                statuses=_QUEUED, created_after=_datetime(after), created_before=_datetime(before)
            )
        )
        return records

    def is_overtaken(self, run: DagsterRun) -> bool:
        """Whether a run of a later partition, of the same job or assets, has ended."""
        date = partition_date(run)
        if not date:
            return False
        ended = RunsFilter(job_name=run.job_name, statuses=_ENDED, exclude_subruns=True)
        others = self._instance.get_run_records(ended, limit=_LATER_RUNS)
        return any(
            partition_date(other) > date
            and place_of(other) == place_of(run)
            and _have_common(run.asset_selection, other.asset_selection)
            for other in (record.dagster_run for record in others)
        )

    def events(self, run: DagsterRun) -> Sequence[DagsterEvent]:
        """The failures of the run's steps and, of assets, what it materialized."""
        kinds = {DagsterEventType.STEP_FAILURE}
        if run.asset_selection:
            kinds |= {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION}
        records = self._instance.get_records_for_run(run.run_id, of_type=kinds).records
        return [event for record in records if (event := record.event_log_entry.dagster_event)]

    def schedule_of(self, run: DagsterRun) -> ScheduleDefinition | None:
        """The one that launched the run, if it is of this code location."""
        name = run.tags.get(SCHEDULE, "")
        return self._schedules.get(name) if place_of(run) == self._place else None

    def running_schedules(self) -> set[str]:
        """The names of this code location's schedules that are on."""
        switched = {
            state.instigator_name: state.is_running
            for state in self._instance.all_instigator_state()
            if state.instigator_type.value == "SCHEDULE"
            and (place := state.repository_selector)
            and (place.location_name, place.repository_name) == self._place
        }
        by_default = DefaultScheduleStatus.RUNNING
        return {
            name
            for name, schedule in self._schedules.items()
            if switched.get(name, schedule.default_status is by_default)
        }

    @cached_property
    def _schedules(self) -> Mapping[str, ScheduleDefinition]:
        defined = self._repository.schedule_defs if self._repository else ()
        return {schedule.name: schedule for schedule in defined}


def place_of(run: DagsterRun) -> tuple[str, str]:
    """The code location and repository that the run's job is defined in; empty where in none."""
    if run.remote_job_origin is None:
        return "", ""
    origin = run.remote_job_origin.repository_origin
    return origin.code_location_origin.location_name, origin.repository_name


def _datetime(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _have_common(these: Set[AssetKey] | None, those: Set[AssetKey] | None) -> bool:
    """Whether two selections have an asset in common; None selects all."""
    return not these or not those or not these.isdisjoint(those)
