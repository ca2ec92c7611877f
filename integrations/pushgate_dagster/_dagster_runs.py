"""Translates what Dagster's database says of a run into a run and an outcome. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagster import DagsterRunStatus

from pushgate import GroupingKey, JobRun, Outcome, Status, label_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from dagster import AssetKey, DagsterEvent, DagsterRun, RunRecord, ScheduleDefinition

_STATUS = {
    DagsterRunStatus.SUCCESS: Status.SUCCESS,
    DagsterRunStatus.FAILURE: Status.FAILURE,
    DagsterRunStatus.CANCELED: Status.SKIPPED,
}
# https://docs.dagster.io/guides/build/assets/metadata-and-tags/tags#system-tags
_BACKFILL, _OPS, _PARTITION = "dagster/backfill", "dagster/solid_selection", "dagster/partition"
_WILL_RETRY, _RETRY_NUMBER = "dagster/will_retry", "dagster/retry_number"
_FAILURE_REASON = "dagster/failure_reason"
SCHEDULE = "dagster/schedule_name"

_ASSET_JOB = "__ASSET_JOB"  # of assets that are materialized without a job of the user's
_MOST_ASSETS = 100  # of one run that are told one by one

_DATE = re.compile(r"\d{4}-\d\d(?:-\d\d(?:[-T ]\d\d:?\d\d)?)?")


def grouping_key(job: str, name: str, location: str) -> GroupingKey:
    """The job called ``name``. Code locations may have jobs of the same name."""
    labels = {"task": label_value(name)}
    return GroupingKey(job, labels | ({"code_location": location} if location else {}))


def place_of(run: DagsterRun) -> tuple[str, str]:
    """The code location and repository that the run's job is defined in; empty where in none."""
    if run.remote_job_origin is None:
        return "", ""
    origin = run.remote_job_origin.repository_origin
    return origin.code_location_origin.location_name, origin.repository_name


def job_run(record: RunRecord, key: GroupingKey, *, webserver_url: str) -> JobRun:
    """The run. One that failed before it could start counts as started when it was created."""
    run, started_at = record.dagster_run, record.start_time
    if started_at is None and run.status is not DagsterRunStatus.CANCELED:
        started_at = record.create_timestamp.timestamp()
    url = f"{webserver_url.rstrip('/')}/runs/{run.run_id}" if webserver_url else ""
    return JobRun(key, started_at, run_id=run.run_id, url=url)


def outcome(record: RunRecord, exception: str = "") -> Outcome | None:
    """How the run ended, by the times of its events; None while it goes on."""
    tags, status = record.dagster_run.tags, _STATUS.get(record.dagster_run.status)
    if status is None or record.end_time is None:
        return None
    if status is Status.FAILURE and tags.get(_WILL_RETRY) == "true":
        status = Status.RETRY
    retry, started_at = tags.get(_RETRY_NUMBER, "0"), record.start_time
    created_at = record.create_timestamp.timestamp()
    return Outcome(
        status,
        record.end_time,
        duration=None if started_at is None else record.end_time - started_at,
        try_number=int(retry) + 1 if retry.isdecimal() else None,
        queue_wait=None if started_at is None else max(0.0, started_at - created_at),
        exception=exception or tags.get(_FAILURE_REASON, ""),
    )


def may_be_retried(run: DagsterRun) -> bool:
    """Whether it failed, and nothing is said of a retry: Dagster writes that a moment later."""
    return run.status is DagsterRunStatus.FAILURE and _WILL_RETRY not in run.tags


def failure(events: Iterable[DagsterEvent]) -> str:
    """The class of what the first step that failed raised."""
    for event in events:
        if event.is_step_failure and (error := event.step_failure_data.error):
            return str((error.cause or error).cls_name or "")
    return ""


def names(run: DagsterRun) -> Mapping[str, AssetKey | None]:
    """What the run's outcome is told of: its job or, where Dagster made up one, its assets."""
    assets = run.asset_selection or ()
    if run.job_name != _ASSET_JOB or not 0 < len(assets) <= _MOST_ASSETS:
        return {run.job_name: None}
    return {f"asset:{asset.to_user_string()}": asset for asset in assets}


def outcome_of_asset(
    ended: Outcome, asset: AssetKey, selection: Collection[AssetKey], events: Sequence[DagsterEvent]
) -> Outcome:
    """How a run of the assets ``selection`` that ended so has ended for one of them."""
    if any(event.asset_key == asset for event in events if not event.is_step_failure):
        return ended._replace(status=Status.SUCCESS, exception="")
    if ended.status is Status.SUCCESS:  # an output that the asset left out
        return ended._replace(status=Status.SKIPPED, duration=None)
    failed = {event.step_key for event in events if event.is_step_failure}
    steps = {_step(other) for other in selection}
    if failed and failed <= steps - {_step(asset)}:  # a step may have several assets
        return ended._replace(status=Status.UPSTREAM_FAILED, duration=None)
    return ended


def _step(asset: AssetKey) -> str:
    return "__".join(asset.path)


def is_real(run: DagsterRun) -> bool:
    """Whether it is neither a backfill nor a part of a job that a person selected."""
    return _BACKFILL not in run.tags and _OPS not in run.tags


def partition_date(run: DagsterRun) -> str:
    """The date of the run's partition, as a text that sorts; empty where there is none."""
    found = _DATE.search(run.tags.get(_PARTITION, ""))
    return found[0] if found else ""


def is_of_later_partition(other: DagsterRun, run: DagsterRun) -> bool:
    """Whether ``other`` is of a later partition than ``run``, of the same job or assets."""
    these, those = run.asset_selection, other.asset_selection  # None selects all
    has_common = not these or not those or not these.isdisjoint(those)
    is_later = partition_date(other) > partition_date(run)
    return is_later and has_common and place_of(other) == place_of(run)


def cron_expression(schedule: ScheduleDefinition) -> str | None:
    """With its time zone; None for a schedule of several."""
    cron = schedule.cron_schedule
    return f"{cron} {schedule.execution_timezone or 'UTC'}" if isinstance(cron, str) else None
