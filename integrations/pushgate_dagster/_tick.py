"""One evaluation of the sensor: what is new in Dagster's database goes to the gateway, in order.

The cursor says what was told. It stays before a run whose push may succeed later, so nothing is
lost while the gateway is away, whatever becomes of the code server's process and disk.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

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
    from dagster import DagsterRun, RunRecord, ScheduleDefinition, SensorEvaluationContext

    from pushgate import DirectSink, GroupingKey, Outcome

_MOST_RUNS = 200  # in one tick
_TIME = 20.0  # seconds, after which a tick begins no further push; Dagster gives up after 60
_LOOK_BACK = 120.0  # seconds that one host's clock may be behind another's
_LATER_RUNS = 100  # among which one of a later partition is looked for
_QUEUED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]

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


class Tick:
    """``cursor`` is what to keep after :meth:`run`."""

    def __init__(
        self,
        context: SensorEvaluationContext,
        sink: DirectSink,
        *,
        job: str,
        monitors_all: bool,
        webserver_url: str,
        queue_deadline: float,
    ) -> None:
        origin = context.code_location_origin
        self._place = (origin.location_name if origin else "", context.repository_name or "")
        self._instance = context.instance
        self._repository = context.repository_def
        self._sink = sink
        self._job = job
        self._monitors_all = monitors_all
        self._webserver_url = webserver_url
        self._queue_deadline = queue_deadline
        self._now = time.time()
        self._ends_at = time.monotonic() + _TIME
        self._reported = 0
        self.cursor = Cursor.from_json(context.cursor, self._now)

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
        """Runs that started or ended."""
        since = self.cursor.seen_until - _LOOK_BACK
        for record in self._instance.get_run_records(
            RunsFilter(statuses=translate.STATUSES, updated_after=_datetime(since)),
            limit=_MOST_RUNS + len(self.cursor.told),
            order_by="update_timestamp",
            ascending=True,
        ):
            run, ended = record.dagster_run, translate.outcome(record)
            what = ended.status.value if ended else run.status.value
            if self.cursor.told.get(run.run_id, (0.0, ""))[1] == what:
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

    def _tell(self, record: RunRecord, ended: Outcome | None) -> None:
        dagster_run = record.dagster_run
        key = self._key_of(dagster_run)
        run = translate.job_run(record, key, webserver_url=self._webserver_url)
        schedule = self._schedules.get(dagster_run.tags.get(translate.SCHEDULE, ""))
        if schedule is not None and run.started_at and _place(dagster_run) == self._place:
            run = with_schedule(run, translate.cron_expression(schedule), _log.warning)
        if ended is None:
            self._push(start_report(run))
        else:
            if ended.status in (Status.FAILURE, Status.RETRY):
                ended = ended._replace(exception=self._exception(dagster_run) or ended.exception)
            self._push(*end_reports(run, ended))
        if schedule is not None and run.expected_interval:
            told = {**self.cursor.schedules, dagster_run.job_name: schedule.name}
            self.cursor = self.cursor._replace(schedules=told)

    def _tell_queued(self) -> None:
        """Runs that waited for their start too long."""
        for record in self._instance.get_run_records(
            RunsFilter(
                statuses=_QUEUED,
                created_after=_datetime(self.cursor.looked_at - self._queue_deadline),
                created_before=_datetime(self._now - self._queue_deadline),
            )
        ):
            if self._is_reported(record.dagster_run):
                run = JobRun(self._key_of(record.dagster_run), None)
                at = record.create_timestamp.timestamp() + self._queue_deadline
                self._push(deadline_report(run, at))
        self.cursor = self.cursor._replace(looked_at=self._now)

    def _withdraw_intervals(self) -> None:
        """Of schedules that were stopped, or are gone: no run is due."""
        running = self._running_schedules() if self.cursor.schedules else set()
        for name, schedule in self.cursor.schedules.items():
            if schedule not in running:
                key = translate.grouping_key(self._job, name, self._place[0])
                families = start_families(JobRun(key, None, expected_interval=math.nan))
                self._push(Report("POST", key, families, self._now))
                left = {n: s for n, s in self.cursor.schedules.items() if n != name}
                self.cursor = self.cursor._replace(schedules=left)

    def _push(self, *reports: Report) -> None:
        """Deliver them, or say in a line that they are lost. Raises GatewayAwayError."""
        if time.monotonic() > self._ends_at:
            raise GatewayAwayError("the time of a tick is over")
        self._sink.deliver(lambda: reports, f"the push for {reports[0].key}")
        error = self._sink.last_error
        if isinstance(error, OSError) and not is_permanent(error) and not was_kept(error):
            raise GatewayAwayError(str(error))
        self._reported += 1

    def _is_reported(self, run: DagsterRun) -> bool:
        return translate.is_real(run) and (self._monitors_all or _place(run) == self._place)

    def _is_overtaken(self, run: DagsterRun) -> bool:
        """Whether a run of a later partition has ended."""
        date = translate.partition_date(run)
        if not date:
            return False
        ended = RunsFilter(job_name=run.job_name, statuses=_ENDED, exclude_subruns=True)
        return any(
            translate.partition_date(other.dagster_run) > date
            for other in self._instance.get_run_records(ended, limit=_LATER_RUNS)
            if _place(other.dagster_run) == _place(run)
        )

    def _key_of(self, run: DagsterRun) -> GroupingKey:
        return translate.grouping_key(self._job, run.job_name, _place(run)[0])

    def _exception(self, run: DagsterRun) -> str:
        """The class of what the first step that failed raised; empty where none did."""
        failures = self._instance.get_records_for_run(
            run.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1
        ).records
        return translate.exception(failures[0].event_log_entry) if failures else ""

    @cached_property
    def _schedules(self) -> Mapping[str, ScheduleDefinition]:
        defined = self._repository.schedule_defs if self._repository else ()
        return {schedule.name: schedule for schedule in defined}

    def _running_schedules(self) -> set[str]:
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


def _place(run: DagsterRun) -> tuple[str, str]:
    """The code location and repository that the run's job is defined in; empty where in none."""
    if run.remote_job_origin is None:
        return "", ""
    origin = run.remote_job_origin.repository_origin
    return origin.code_location_origin.location_name, origin.repository_name


def _datetime(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
