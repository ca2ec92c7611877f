"""A schedule as a cron expression: the next run's time is exact, and the gateway has it."""

import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pushgate import GroupingKey, JobRun, with_schedule

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = "0 9-17 * * mon-fri Europe/Berlin"


def berlin(*when):
    return datetime(*when, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("schedule", "started", "due", "hours"),
    [
        (OFFICE, (2026, 11, 27, 16, 0, 2), (2026, 11, 27, 17), 1),
        (OFFICE, (2026, 11, 27, 17, 0, 2), (2026, 11, 30, 9), 64),
        (OFFICE, (2026, 11, 27, 16, 59, 58), (2026, 11, 30, 9), 64),  # a clock that is behind
        ("30 2 * * * Europe/Berlin", (2026, 3, 28, 2, 30), (2026, 3, 29, 3, 0), 23.5),  # no 2:30
        ("@daily Europe/Berlin", (2026, 3, 28, 0, 0, 2), (2026, 3, 29), 24),
        ("0 0 29 2 * Europe/Berlin", (2026, 3, 1), (2028, 2, 29), 35_064),
    ],
)
def test_the_next_run_is_at_the_time_that_cron_starts_it(schedule, started, due, hours):
    run = with_schedule(JobRun(GroupingKey("j"), berlin(*started)), schedule, pytest.fail)
    assert run.next_run_at == berlin(*due)
    assert run.expected_interval == hours * 3600


def test_in_the_hour_that_comes_twice_no_run_is_due_in_the_past():
    started = berlin(2026, 10, 25, 2, 0, 2) + 3600
    run = with_schedule(
        JobRun(GroupingKey("j"), started), "20,30 2 * * * Europe/Berlin", pytest.fail
    )
    assert run.next_run_at == berlin(2026, 10, 26, 2, 20)
    assert run.next_run_at - run.expected_interval == berlin(2026, 10, 25, 2, 30)


def test_without_a_zone_it_is_the_hosts(monkeypatch):
    run = with_schedule(JobRun(GroupingKey("j"), berlin(2026, 11, 27, 12)), "0 4 * * *", print)
    due = datetime.fromtimestamp(run.next_run_at)
    assert (due.hour, due.minute) == (4, 0)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 25 * * *", "bad hour; write MINUTE HOUR DAY MONTH WEEKDAY"),
        ("0 9 31 2 *", "bad day-of-month"),
        (["each night"], "give seconds, or a cron expression"),
        (-60, "give seconds, more than 0"),
        (float("nan"), "give seconds, more than 0"),
        ("0 9 * * * Europe/Brelin", "there is no time zone 'Europe/Brelin'"),
    ],
)
def test_what_is_no_schedule_is_one_line_and_the_run_goes_on_without(schedule, words):
    lines = []
    run = JobRun(GroupingKey("j"), 1.7e9)
    assert with_schedule(run, schedule, lines.append) == run
    (line,) = lines
    assert line.startswith(f"the schedule {schedule!r} is not published: ")
    assert words in line


def test_without_the_extra_the_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    lines = []
    run = JobRun(GroupingKey("j"), 1.7e9)
    assert with_schedule(run, "0 9 * * *", lines.append) == run
    assert lines[0].endswith("a cron expression needs cronsim: pip install 'pushgate[cli]'")
    assert with_schedule(run, 60.0, lines.append).expected_interval == 60.0


def test_the_command_line_takes_a_nickname(cli, pushgateway, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", pushgateway.url)
    assert cli("start", "--job", "report", "--expect-every", "@hourly")[0] == 0
    (group,) = pushgateway.groups(job="report")
    assert group.value("batch_job_expected_interval_seconds") == 3600


@pytest.mark.parametrize("command", ["run", "start"])
def test_the_command_line_takes_one(cli, pushgateway, command, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", pushgateway.url)
    job = ("--job", "report", "--expect-every")
    if command == "run":  # in a process of its own: it keeps its signal handlers to its end
        words = (sys.executable, "-m", "pushgate", "run", *job, OFFICE, "--", "true")
        subprocess.run(words, check=True)
    else:
        assert cli(command, *job, OFFICE)[0] == 0
    (group,) = pushgateway.groups(job="report")
    due = datetime.fromtimestamp(group.value("batch_job_next_run_timestamp_seconds"), BERLIN)
    assert (due.minute, due.second) == (0, 0)
    assert due.hour in range(9, 18)
    assert due.weekday() < 5
    for wrong in ("0 9 * *", "daily"):
        code, _, (line,) = cli("start", *job, wrong)
        assert code == 0
        assert f"--expect-every: {wrong!r} is no schedule; write a period, such as 24h" in line
    _, _, (line,) = cli("start", *job, "24")
    assert "--expect-every: '24' has no unit; write 24d, 24h or 24s" in line
