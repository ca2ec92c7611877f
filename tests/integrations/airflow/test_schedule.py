"""How long until the next run is due, for each kind of schedule."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
from dateutil.relativedelta import relativedelta

from support.airflow_records import RECORDS, recording

HOUR, DAY = 3_600.0, 86_400.0
FRIDAY = datetime(2026, 3, 6, 9, tzinfo=UTC)
WEEKDAYS = "0 9 * * 1-5"
START = datetime(2020, 1, 1, tzinfo=UTC)


def interval(schedule, due, start=None, run_type="scheduled", **options):
    """What a notifier says of the end of such a DAG's run."""
    run = SimpleNamespace(
        run_type=run_type,
        run_after=due,
        data_interval_start=start or due,
        data_interval_end=due,
        state="success",
    )
    dag = DAG("d", schedule=schedule, start_date=START, **options)
    RECORDS.clear()
    recording("dag success")({"dag": dag, "dag_run": run, "run_id": "r", "reason": "success"})
    (record,) = RECORDS
    return record.event.expected_interval


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
    assert interval(schedule, FRIDAY, **options) == expected


def test_a_run_of_a_data_interval_is_due_at_its_end():
    timetable = CronDataIntervalTimetable(WEEKDAYS, timezone="UTC")
    assert interval(timetable, FRIDAY + timedelta(days=3), start=FRIDAY) == DAY
    assert interval(timetable, FRIDAY, start=FRIDAY - timedelta(days=1)) == 3 * DAY


def test_a_triggered_run_does_not():
    assert interval("@daily", FRIDAY, run_type="manual") is None


def test_the_day_on_which_clocks_are_put_forward_is_shorter():
    timetable = CronTriggerTimetable("0 9 * * *", timezone="Europe/Berlin")
    assert interval(timetable, datetime(2026, 3, 28, 8, tzinfo=UTC)) == DAY - HOUR


def test_the_last_run_before_the_end_of_a_dag_expects_no_other():
    assert interval("@daily", FRIDAY, end_date=FRIDAY + timedelta(hours=1)) is None


class TwoHoursLate(Timetable):
    """Runs for each day, two hours after it is over."""

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        start = last_automated_data_interval.end
        end = start + timedelta(days=1)
        return DagRunInfo(end + timedelta(hours=2), DataInterval(start, end))


class Broken(TwoHoursLate):
    def next_dagrun_info(self, **_options):
        raise RuntimeError("no calendar")


def test_a_timetable_of_ones_own_is_asked_and_a_broken_one_is_no_error():
    due = datetime(2026, 3, 6, 2, tzinfo=UTC)
    # The run's data interval ended at midnight.
    assert interval(TwoHoursLate(), due, start=due - timedelta(hours=26)) == DAY + 2 * HOUR
    assert interval(Broken(), due) is None
