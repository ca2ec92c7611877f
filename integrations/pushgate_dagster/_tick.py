"""One evaluation of the sensor: what is new in Dagster's database goes to the gateway, in order.

The cursor says what was told. It stays before a run whose push may succeed later, so nothing is
lost while the gateway is away, whatever becomes of the code server's process and disk.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster import DagsterEventType, DagsterRunStatus, DefaultScheduleStatus, RunsFilter

from pushgate import (
    JobRun,
    PushError,
    RateLimitedLogger,
    Report,
    Status,
    deadline_report,
    end_reports,
    is_permanent,
    start_families,
    start_report,
    was_kept,
    with_schedule,
)
from pushgate_dagster import _dagster_runs as translate

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterRun, RunRecord, SensorEvaluationContext

    from pushgate import DirectSink, GroupingKey, Outcome

_MOST_RUNS = 200  # in one tick
_LATER_RUNS = 100  # among which one of a later partition is looked for
_TIME = 20.0  # seconds, after which a tick begins no further push; Dagster gives up after 60
_LOOK_BACK = 120.0  # seconds that one host's clock may be behind another's
_DECIDED = 10.0  # seconds after a failure, by which Dagster has said whether it tries again
_FAILED = (Status.FAILURE, Status.RETRY)
_QUEUED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
_STARTED_OR_ENDED = [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELED, *_ENDED]
_OF_ASSETS = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION}

_log = RateLimitedLogger()


class GatewayAwayError(Exception):
    """What follows waits for the next tick."""


class Cursor(NamedTuple):
    """``seen_until``: when the last run changed that was told, ``told``: when and what of those of
    shortly before, by their ids, ``looked_at``: when the queue was looked at; all in Unix seconds.
    ``schedules`` are those by which an interval was told, by the names of their jobs.
    """

    seen_until: float
    looked_at: float
    told: Mapping[str, tuple[float, str]] = {}
    schedules: Mapping[str, str] = {}

    @classmethod
    def from_json(cls, text: str | None, now: float) -> Cursor:
        """The last tick's. Begins now where there is none, or one of another version."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return cls(now, now)

    def to_json(self) -> str:
        return json.dumps(self._asdict())


@dataclass
class Tick:
    """``cursor`` is what to keep after :meth:`run`. The other fields are the sensor's options."""

    context: SensorEvaluationContext
    sink: DirectSink
    job: str
    monitors_all: bool
    webserver_url: str
    queue_deadline: float

    def __post_init__(self) -> None:
        origin, repository = self.context.code_location_origin, self.context.repository_def
        self._place = (origin.location_name if origin else "", self.context.repository_name or "")
        self._schedules = {s.name: s for s in (repository.schedule_defs if repository else ())}
        self._now = time.time()
        self._ends_at = time.monotonic() + _TIME
        self._reported = 0
        self.cursor = Cursor.from_json(self.context.cursor, self._now)

    def run(self) -> str:
        """Report what is new, or as much as possible. Returns what the sensor's page shows."""
        try:
            self._tell_changes()
            self._tell_queued()
            self._withdraw_intervals()
        except GatewayAwayError as error:
            return f"{self._reported} reports pushed; others wait in Dagster's database: {error}"
        return f"{self._reported} reports pushed"

    def _tell_changes(self) -> None:
        """Runs that started, ended or got a tag, the earliest change first."""
        since = self.cursor.seen_until - _LOOK_BACK
        for record in self._records(
            RunsFilter(
                statuses=_STARTED_OR_ENDED, updated_after=datetime.fromtimestamp(since, UTC)
            ),
            limit=_MOST_RUNS + len(self.cursor.told),
            order_by="update_timestamp",
            ascending=True,
        ):
            run, ended = record.dagster_run, translate.outcome(record)
            what = ended.status.value if ended else run.status.value
            if self.cursor.told.get(run.run_id, (0.0, ""))[1] == what or self._is_undecided(record):
                continue
            # A run that was told long before changes once more when it gets a tag.
            is_news = (record.end_time or record.start_time or 0.0) > since
            if is_news and self._is_reported(run) and not self._is_overtaken(run):
                try:
                    self._tell(record, ended)
                except PushError as error:
                    _log.warning(f"the {what} of a run of {run.job_name} is lost: {error}")
            changed_at = record.update_timestamp.timestamp()
            # Of a host whose clock is ahead, the others' runs would seem old.
            seen_until = max(self.cursor.seen_until, min(changed_at, self._now))
            told = {**self.cursor.told, run.run_id: (changed_at, what)}
            recent = {i: t for i, t in told.items() if t[0] > seen_until - _LOOK_BACK}
            self.cursor = self.cursor._replace(seen_until=seen_until, told=recent)

    def _is_undecided(self, record: RunRecord) -> bool:
        """Whether the run has just failed, and Dagster has not yet said that it tries it again."""
        return (
            self.context.instance.run_retries_enabled
            and translate.may_be_retried(record.dagster_run)
            and self._now - (record.end_time or 0.0) < _DECIDED
        )

    def _is_overtaken(self, run: DagsterRun) -> bool:
        """Whether a run of a later partition, of the same job or assets, has ended."""
        if not translate.partition_date(run):
            return False
        ended = RunsFilter(job_name=run.job_name, statuses=_ENDED, exclude_subruns=True)
        others = self._records(ended, limit=_LATER_RUNS)
        return any(translate.is_of_later_partition(other.dagster_run, run) for other in others)

    def _tell(self, record: RunRecord, ended: Outcome | None) -> None:
        dagster_run, names = record.dagster_run, translate.names(record.dagster_run)
        events: Sequence[DagsterEvent] = ()
        if ended is not None and (ended.status in _FAILED or any(names.values())):
            events = self._events(dagster_run)
            ended = ended._replace(exception=translate.failure(events) or ended.exception)
        schedule = None
        if translate.place_of(dagster_run) == self._place:
            schedule = self._schedules.get(dagster_run.tags.get(translate.SCHEDULE, ""))
        reports: list[Report] = []
        for name, asset in names.items():
            key = self._key(name, dagster_run)
            run = translate.job_run(record, key, webserver_url=self.webserver_url)
            if schedule is not None and run.started_at:
                run = with_schedule(run, translate.cron_expression(schedule), _log.warning)
            if ended is None:
                reports.append(start_report(run))
            elif asset is None:
                reports += end_reports(run, ended)
            else:
                selection = dagster_run.asset_selection or ()
                of_asset = translate.outcome_of_asset(ended, asset, selection, events)
                reports += end_reports(run, of_asset)
        self._push(*reports)
        if schedule is not None:
            told = {**self.cursor.schedules, **dict.fromkeys(names, schedule.name)}
            self.cursor = self.cursor._replace(schedules=told)

    def _events(self, run: DagsterRun) -> Sequence[DagsterEvent]:
        """The failures of the run's steps and, of assets, what it materialized."""
        kinds = {DagsterEventType.STEP_FAILURE} | (_OF_ASSETS if run.asset_selection else set())
        records = self.context.instance.get_records_for_run(run.run_id, of_type=kinds).records
        return [event for record in records if (event := record.event_log_entry.dagster_event)]

    def _tell_queued(self) -> None:
        """Runs that waited for their start too long."""
        created = (self.cursor.looked_at - self.queue_deadline, self._now - self.queue_deadline)
        after, before = (datetime.fromtimestamp(at, UTC) for at in created)
        waiting = RunsFilter(statuses=_QUEUED, created_after=after, created_before=before)
        for record in self._records(waiting):
            if self._is_reported(record.dagster_run):
                at = record.create_timestamp.timestamp() + self.queue_deadline
                for name in translate.names(record.dagster_run):
                    run = JobRun(self._key(name, record.dagster_run), None)
                    self._push(deadline_report(run, at))
        self.cursor = self.cursor._replace(looked_at=self._now)

    def _withdraw_intervals(self) -> None:
        """Of schedules that were stopped, or are gone: no run is due."""
        running = self._running_schedules() if self.cursor.schedules else set()
        for name, schedule in self.cursor.schedules.items():
            if schedule not in running:
                key = translate.grouping_key(self.job, name, self._place[0])
                families = start_families(JobRun(key, None, expected_interval=math.nan))
                self._push(Report("POST", key, families, self._now))
                left = {n: s for n, s in self.cursor.schedules.items() if n != name}
                self.cursor = self.cursor._replace(schedules=left)

    def _running_schedules(self) -> set[str]:
        """The names of this code location's schedules that are on."""
        switched = {
            state.instigator_name: state.is_running
            for state in self.context.instance.all_instigator_state()
            if state.instigator_type.value == "SCHEDULE"
            and (place := state.repository_selector)
            and (place.location_name, place.repository_name) == self._place
        }
        on = DefaultScheduleStatus.RUNNING
        return {n for n, s in self._schedules.items() if switched.get(n, s.default_status is on)}

    def _push(self, *reports: Report) -> None:
        """Deliver them, or say in a line that they are lost. Raises GatewayAwayError."""
        if time.monotonic() > self._ends_at:
            raise GatewayAwayError("the time of a tick is over")
        self.sink.deliver(lambda: reports, f"the push for {reports[0].key}")
        error = self.sink.last_error
        if isinstance(error, OSError) and not is_permanent(error) and not was_kept(error):
            raise GatewayAwayError(str(error))
        self._reported += 1

    def _records(self, which: RunsFilter, **order: Any) -> Sequence[RunRecord]:
        records: Sequence[RunRecord] = self.context.instance.get_run_records(which, **order)
        return records

    def _is_reported(self, run: DagsterRun) -> bool:
        return translate.is_real(run) and (
            self.monitors_all or translate.place_of(run) == self._place
        )

    def _key(self, name: str, run: DagsterRun) -> GroupingKey:
        return translate.grouping_key(self.job, name, translate.place_of(run)[0])
