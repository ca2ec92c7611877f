"""How long until the next run is due, for each kind of schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
from dateutil.relativedelta import relativedelta

from pushgate_airflow._schedule import expected_interval

HOUR, DAY = 3_600.0, 86_400.0
FRIDAY = datetime(2026, 3, 6, 9, tzinfo=UTC)
WEEKDAYS = "0 9 * * 1-5"
START = datetime(2020, 1, 1, tzinfo=UTC)


def scheduled(due, start=None, run_type="scheduled"):
    """A DAG run as the scheduler makes it."""
    return SimpleNamespace(
        run_type=run_type,
        run_after=due,
        data_interval_start=start or due,
        data_interval_end=due,
        logical_date=start or due,
    )


def triggered(at):
    """A DAG run as the REST API makes it: without a logical date."""
    return SimpleNamespace(
        run_type="manual",
        run_after=at,
        data_interval_start=None,
        data_interval_end=None,
        logical_date=None,
    )


def interval(schedule, run, **options):
    return expected_interval(DAG("d", schedule=schedule, start_date=START, **options), run)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@hourly", HOUR),
        ("30 9 * * *", HOUR / 2),  # the schedule was changed since: this run was due at 9
        (WEEKDAYS, 3 * DAY),
        (CronTriggerTimetable(WEEKDAYS, timezone="UTC"), 3 * DAY),
        (CronTriggerTimetable("@daily", timezone="UTC", interval=timedelta(days=1)), 15 * HOUR),
        (MultipleCronTriggerTimetable("0 9 * * *", "0 15 * * 5", timezone="UTC"), 6 * HOUR),
        (timedelta(hours=6), 6 * HOUR),
        (DeltaTriggerTimetable(timedelta(minutes=5)), 300.0),
        (relativedelta(months=1), 31 * DAY),
        (None, None),
        ("@once", None),
        ("@continuous", None),
        ([Asset("s3://orders")], None),
    ],
    ids=str,
)
def test_a_scheduled_run_tells_how_long_until_the_next_is_due(schedule, expected):
    options = {"max_active_runs": 1} if schedule == "@continuous" else {}
    assert interval(schedule, scheduled(FRIDAY), **options) == expected


def test_a_run_of_a_data_interval_is_due_at_its_end():
    timetable = CronDataIntervalTimetable(WEEKDAYS, timezone="UTC")
    friday_to_monday = scheduled(FRIDAY + timedelta(days=3), start=FRIDAY)
    assert interval(timetable, friday_to_monday) == DAY
    assert interval(timetable, scheduled(FRIDAY, start=FRIDAY - timedelta(days=1))) == 3 * DAY


@pytest.mark.parametrize(
    ("schedule", "at", "expected"),
    [
        ("@daily", FRIDAY, DAY),
        (WEEKDAYS, FRIDAY + timedelta(hours=5), 3 * DAY),
        (WEEKDAYS, FRIDAY + timedelta(days=2), 3 * DAY),
        (WEEKDAYS, FRIDAY - timedelta(seconds=3), DAY),
        (CronDataIntervalTimetable(WEEKDAYS, timezone="UTC"), FRIDAY + timedelta(days=2), 3 * DAY),
        (MultipleCronTriggerTimetable("0 9 * * *", "0 15 * * 5", timezone="UTC"), FRIDAY, 6 * HOUR),
        (timedelta(hours=6), FRIDAY, 6 * HOUR),
        ("@yearly", FRIDAY, 365 * DAY),
        (
            AssetOrTimeSchedule(
                timetable=CronTriggerTimetable("@hourly", timezone="UTC"), assets=[Asset("a")]
            ),
            FRIDAY,
            HOUR,
        ),
        (None, FRIDAY, None),
        ([Asset("s3://orders")], FRIDAY, None),
    ],
    ids=str,
)
def test_a_triggered_run_tells_the_period_that_it_falls_into(schedule, at, expected):
    assert interval(schedule, triggered(at)) == expected


def test_the_day_on_which_clocks_are_put_forward_is_shorter():
    timetable = CronTriggerTimetable("0 9 * * *", timezone="Europe/Berlin")
    due = datetime(2026, 3, 28, 8, tzinfo=UTC)
    assert interval(timetable, scheduled(due)) == DAY - HOUR


def test_the_last_run_before_the_end_of_a_dag_expects_no_other():
    end = FRIDAY + timedelta(hours=1)
    assert interval("@daily", scheduled(FRIDAY), end_date=end) is None


class TwoHoursLate(Timetable):
    """Runs for each day, two hours after it is over."""

    def infer_manual_data_interval(self, *, run_after):
        raise AssertionError("it is not asked")

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        start = last_automated_data_interval.end
        end = start + timedelta(days=1)
        return DagRunInfo(end + timedelta(hours=2), DataInterval(start, end))


class Broken(TwoHoursLate):
    def next_dagrun_info(self, **_options):
        raise RuntimeError("no calendar")


def test_a_timetable_of_ones_own_is_asked_and_a_broken_one_is_no_error():
    start = pendulum.datetime(2026, 3, 5)
    run = scheduled(start.add(days=1, hours=2), start=start)
    run.data_interval_end = start.add(days=1)
    assert interval(TwoHoursLate(), run) == DAY
    assert interval(Broken(), run) is None
