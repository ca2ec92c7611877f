"""How each job is doing: outcome, next run and what is bad, of what the adapters really push."""

from dataclasses import replace

import pytest

from pushgate import (
    CommandEnd,
    Gateway,
    Group,
    GroupFamily,
    GroupingKey,
    JobRun,
    Outcome,
    Sample,
    Status,
    end_families,
    gauge,
    job_rows,
    start_families,
)
from pushgate.embedded import EmbeddedGateway

HOUR, DAY = 3600.0, 86_400.0
NOW = 1_700_000_000.0
KEY = GroupingKey("j")
START = "batch_job_last_start_timestamp_seconds"
SUCCESS, FAILURE, RETRY, SKIPPED = Status.SUCCESS, Status.FAILURE, Status.RETRY, Status.SKIPPED


class Job:
    """A job whose runs are reported as an adapter does it, at the gateway's time NOW."""

    def __init__(self):
        self.server = EmbeddedGateway(clock=lambda: NOW)
        self.server.start()
        self.gateway = Gateway(self.server.url)

    def runs(self, ago, took=None, status=SUCCESS, *, every=None, key=KEY, **outcome):
        """A run that began so many seconds ago, and ended if ``took`` says when."""
        run = JobRun(key, NOW - ago, every)
        self.gateway.pushadd(key, start_families(run))
        if took is not None:
            ended = Outcome(status, NOW - ago + took, took, **outcome)
            self.gateway.pushadd(key, end_families(run, ended))

    def skips(self, ago):
        self.gateway.pushadd(KEY, end_families(JobRun(KEY, None), Outcome(SKIPPED, NOW - ago)))

    def row(self):
        (row,) = job_rows(self.gateway.groups(), now=NOW)
        return row

    def outcome(self):
        row = self.row()
        return row.outcome, row.detail


@pytest.fixture
def job():
    job = Job()
    yield job
    job.server.stop()


@pytest.mark.parametrize(
    ("end", "detail"),
    [
        (CommandEnd(3), "exit 3"),
        (CommandEnd(137, signal=9), "signal 9"),
        (CommandEnd(143, signal=15, timed_out=True), "timed out"),
        (None, ""),
    ],
)
def test_a_failure_says_how_and_lasts_until_the_next_success(job, end, detail):
    job.runs(60, 10, FAILURE, command=end)
    assert job.outcome() == ("failed", detail)
    assert job.row().never_succeeded
    job.runs(40)
    assert job.outcome() == ("running", "")
    assert job.row().failed
    job.runs(40, 10, command=end and CommandEnd(0))
    assert job.outcome() == ("succeeded", "")
    row = job.row()
    assert (row.bad, row.at, row.duration) == (False, NOW - 30, 10)


@pytest.mark.parametrize(("late", "overdue"), [(-60, False), (240, False), (360, True)])
def test_an_exact_time_of_the_next_run_has_a_grace_of_minutes(job, late, overdue):
    """Of "weekdays 9 to 17" the last interval of the week is 64 hours long, and no excuse."""
    run = JobRun(KEY, NOW - late - 64 * HOUR, 64 * HOUR, next_run_at=NOW - late)
    job.gateway.pushadd(KEY, end_families(run, Outcome(SUCCESS, run.started_at + 1, 1.0)))
    row = job.row()
    assert (row.due, row.overdue) == (NOW - late, overdue)
    job.skips(10)  # without a schedule: it has another one now
    assert not job.row().overdue


def test_a_first_run_that_goes_on_is_not_bad(job):
    job.runs(60)
    assert job.outcome() == ("running", "")
    assert not job.row().bad


@pytest.mark.parametrize(
    ("last_took", "goes_on", "stuck"),
    [
        (10, HOUR - 1, False),
        (10, HOUR + 1, True),
        (HOUR, 3 * HOUR - 1, False),
        (HOUR, 3 * HOUR + 1, True),
        (None, DAY - 1, False),
        (None, DAY + 1, True),
    ],
)
def test_a_run_that_goes_on_for_too_long_is_stuck(job, last_took, goes_on, stuck):
    if last_took is not None:
        job.runs(10 * DAY, last_took)
    job.runs(goes_on)
    row = job.row()
    assert (row.outcome, row.stuck, row.bad) == ("running", stuck, stuck)


@pytest.mark.parametrize(
    ("every", "took", "ended_before", "goes_on", "missing"),
    [
        (600, 5, 1000, 120, True),
        (600, 5, 899, 120, False),  # 15 minutes, and one and a half intervals
        (DAY, 5, 1.49 * DAY, 120, False),
        (DAY, 5, 1.51 * DAY, 120, True),
        (1000, 600, 1700, 1200, False),  # runs that overlap
        (1000, 600, 1900, 1200, True),
        (600, 5, 1000, 60, False),  # it may still end, and then there was a pause before it
        (1000, 600, 1900, 900, False),
        (None, 5, 90 * DAY, 120, False),
    ],
)
def test_runs_that_start_and_never_end_are_bad_by_two_times_alone(
    job, every, took, ended_before, goes_on, missing
):
    job.runs(goes_on + ended_before + took, took)
    job.runs(goes_on, every=every)
    row = job.row()
    assert (row.outcome, row.ends_missing, row.bad) == ("running", missing, missing)


@pytest.mark.parametrize("status", [SKIPPED, RETRY, Status.UPSTREAM_FAILED])
def test_a_skip_and_a_retry_are_ends(job, status):
    job.runs(7000, 5, every=600)
    job.gateway.pushadd(KEY, end_families(JobRun(KEY, None), Outcome(status, NOW - 800)))
    job.runs(400, every=600)
    assert not job.row().bad


def test_that_no_run_ever_ended_is_said_and_no_more_is_known(job):
    job.runs(400, every=600)
    row = job.row()
    assert (row.never_ended, row.ends_missing, row.bad) == (True, False, False)


@pytest.mark.parametrize(
    ("every", "ago", "overdue"),
    [
        (DAY, 1.49 * DAY, False),
        (DAY, 1.51 * DAY, True),
        (60, 119, False),  # a minute of grace at least
        (60, 121, True),
        (None, 100 * DAY, False),
    ],
)
def test_a_run_that_should_have_begun_is_overdue(job, every, ago, overdue):
    job.runs(ago, 1, every=every)
    row = job.row()
    assert (row.overdue, row.bad) == (overdue, overdue)
    assert row.due == (every and NOW - ago + every)


def test_while_a_run_is_going_on_nothing_is_overdue(job):
    job.runs(10_000, 9_000, every=600)
    assert job.row().overdue
    job.runs(950, every=600)
    row = job.row()
    assert (row.overdue, row.stuck) == (False, False)


def test_a_skipped_run_is_on_time_and_ends_none_that_goes_on(job):
    job.runs(2 * DAY, 1, every=DAY)
    job.skips(60)
    assert job.outcome() == ("skipped", "")
    assert not job.row().overdue
    job.runs(50, every=DAY)
    job.skips(10)  # the lock was held
    assert job.outcome() == ("running", "")


def test_a_run_whose_upstream_failed_is_on_time_and_no_failure(job):
    job.runs(2 * DAY, 1, every=DAY)
    failed = Outcome(Status.UPSTREAM_FAILED, NOW - 60)
    job.gateway.pushadd(KEY, end_families(JobRun(KEY, None), failed))
    assert job.outcome() == ("upstream failed", "")
    row = job.row()
    assert (row.at, row.bad, row.doubtful) == (NOW - 60, False, False)
    job.runs(50, every=DAY)
    assert job.outcome() == ("running", "")


@pytest.mark.parametrize(("ahead", "doubted"), [(59, 0), (61, 61), (DAY, DAY)])
def test_an_end_that_is_later_than_its_push_is_doubted(job, ahead, doubted):
    job.runs(1 - ahead, 1, every=HOUR)
    row = job.row()
    assert (row.clock_ahead, row.doubtful, row.bad) == (doubted, doubted > 0, False)


@pytest.mark.parametrize(("ago", "vanished"), [(DAY - 1, True), (DAY + 1, False)])
def test_that_a_run_vanished_is_told_for_a_day(job, ago, vanished):
    run = JobRun(KEY, NOW - ago, vanished_at=NOW - ago)
    job.gateway.pushadd(KEY, end_families(run, Outcome(SUCCESS, NOW - ago + 1, 1)))
    row = job.row()
    assert (row.vanished, row.doubtful, row.bad) == (vanished, vanished, False)


def test_a_run_that_began_and_was_skipped_has_not_failed(job):
    job.runs(60, 10, SKIPPED)
    assert job.outcome() == ("skipped", "")
    assert not job.row().bad


def test_a_try_that_will_be_repeated_is_no_failure_and_not_stuck(job):
    job.runs(2 * DAY, 10, RETRY, try_number=2)
    assert job.outcome() == ("retrying", "try 2")
    assert not job.row().bad
    job.runs(60)
    assert job.outcome() == ("running", "")


def test_a_missed_deadline_is_told_until_the_run_ends(job):
    job.runs(60)
    job.gateway.pushadd(
        KEY, gauge("batch_job_last_deadline_missed_timestamp_seconds", "h", NOW - 30)
    )
    assert job.row().missed_deadline
    job.runs(60, 50)
    assert not job.row().missed_deadline


def test_groups_without_an_outcome_are_left_out_and_odd_numbers_do_no_harm(job):
    job.gateway.push("j", gauge("rows", "h", 1), {"origin": "job"})
    job.gateway.push("k", gauge("batch_job_expected_interval_seconds", "h", 60))
    assert job_rows(job.gateway.groups(), now=NOW) == []
    odd = [gauge(f"batch_job_last_{name}", "h", float("nan")) for name in ("signal", "exit_code")]
    job.gateway.push("j", odd)
    assert job_rows(job.gateway.groups(), now=NOW) == []


def test_the_worst_comes_first(job):
    job.runs(60, 10, key=GroupingKey("well"))
    job.runs(60, 10, FAILURE, key=GroupingKey("failed"))
    job.runs(60, key=GroupingKey("at work"))
    job.runs(60, 10, RETRY, key=GroupingKey("again"))
    rows = job_rows(job.gateway.groups(), now=NOW)
    assert [row.name for row in rows] == ["failed", "again", "at work", "well"]


def test_what_nobody_pushes_any_more_is_stale(job):
    job.runs(60, 10, FAILURE)
    groups = job.gateway.groups()
    assert not job_rows(groups, now=NOW + 7 * DAY - 1)[0].stale
    assert job_rows(groups, now=NOW + 7 * DAY + 1)[0].stale


def test_a_refused_push_and_an_expiry_to_come_keep_a_group_from_being_stale(job):
    job.runs(60, 10, FAILURE)
    (group,) = job.gateway.groups()
    later = NOW + 9 * DAY
    refused = replace(group, push_failure_time=later - HOUR, last_push_successful=False)
    (row,) = job_rows([refused], now=later)
    assert (row.stale, row.push_failing) == (False, True)
    job.gateway.pushadd(KEY, gauge("batch_job_group_expiry_timestamp_seconds", "h", later))
    groups = job.gateway.groups()
    assert not job_rows(groups, now=later - 1)[0].stale
    assert job_rows(groups, now=later + 1)[0].stale


def test_a_job_that_is_paused_is_not_stale_before_a_week_after_the_pause(job):
    job.runs(60, 10, FAILURE)
    over = NOW + 20 * DAY
    job.gateway.pushadd(KEY, gauge("batch_job_paused_until_timestamp_seconds", "h", over))
    groups = job.gateway.groups()
    assert not job_rows(groups, now=over + 7 * DAY - 1)[0].stale
    assert job_rows(groups, now=over + 7 * DAY + 1)[0].stale


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"job": "backup"}, "backup"),
        ({"job": "airflow", "dag_id": "d", "task_id": "t"}, "airflow d/t"),
        ({"job": "airflow", "dag_id": "d"}, "airflow d"),
        ({"job": "celery", "task": "shop.charge"}, "celery shop.charge"),
        ({"job": "backup", "host": 'a"'}, 'backup{host="a\\""}'),
        ({"job": "a", "dag_id": "d", "task_id": "t", "run_id": "1"}, 'a d/t{run_id="1"}'),
        ({"job": "a", "task_id": "t"}, 'a{task_id="t"}'),
        ({"job": "{job}", "dag_id": "{x}"}, "{job} {x}"),
    ],
)
def test_a_job_has_a_short_name(labels, name):
    started = GroupFamily(START, "gauge", "", NOW, (Sample(START, {}, NOW),))
    (row,) = job_rows([Group(labels, True, NOW, 0.0, (started,))], now=NOW)
    assert row.name == name
