"""groups, prune, delete and status as a person and as a script meet them."""

import json
import os
import re
import shlex
import sys
import time

import pexpect
import pytest

from pushgate import (
    CommandEnd,
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Settings,
    Status,
    end_families,
    gauge,
    job_rows,
)
from pushgate.embedded import EmbeddedGateway

DAY = 86_400.0


@pytest.fixture
def two_days_ago():
    """A gateway whose clock is two and a half days behind, until ``now()`` is called."""
    behind = [2.5 * DAY]
    with EmbeddedGateway(clock=lambda: time.time() - behind[0]) as server:
        server.now = lambda: behind.__setitem__(0, 0.0)
        yield server


def push(url, job, **labels):
    Gateway(url).push(job, gauge("m", "h", 1), labels)


def report(url, job, ago, status=Status.SUCCESS, took=10.0, every=None, **outcome):
    run = JobRun(GroupingKey(job), time.time() - ago, every)
    ended = Outcome(status, time.time() - ago + took, took, **outcome)
    Gateway(url).pushadd(run.key, end_families(run, ended))


def test_groups_are_listed_with_the_oldest_first(cli, two_days_ago):
    url = two_days_ago.url
    push(url, "old", instance="a\x1b[2J")
    two_days_ago.now()
    push(url, "new")
    code, out, errors = cli("groups", "--gateway", url)
    head, first, second, total = out.splitlines()
    assert (code, errors) == (0, [])
    assert head.split() == ["GROUP", "LAST", "PUSH", "REFUSED", "FAMILIES", "SAMPLES"]
    assert first.split("  ")[0] == '{job="old",instance="a\\x1b[2J"}'
    assert "2d ago" in first
    assert second.startswith('{job="new"}')
    assert total == "2 groups, 2 samples"
    (found,) = json.loads(cli("groups", "job=~o.*", "--json", "--gateway", url)[1])
    assert found["labels"]["job"] == "old"
    assert (found["families"], found["samples"]) == (1, 1)
    assert cli("groups", "job=none", "--gateway", url)[2] == [
        f"pushgate: {url} holds no matching group"
    ]


def test_prune_says_what_goes_and_why_and_deletes_it(cli, two_days_ago):
    url = two_days_ago.url
    for job in ("a", "b"):
        push(url, job)
    two_days_ago.now()
    push(url, "c")
    prune = ("prune", "--older-than", "1d", "--gateway", url)
    line = '{job="a"}  not pushed for 2d'
    assert cli(*prune, "a", "--dry-run") == (
        0,
        f"would delete  {line}\n1 group would be deleted\n",
        [],
    )
    assert len(Gateway(url).groups()) == 3
    assert cli(*prune, "a") == (0, f"deleted  {line}\n1 group deleted\n", [])
    (entry,) = json.loads(cli(*prune, "--json")[1])  # half of it needs no --yes
    assert (entry["labels"], entry["deleted"]) == ({"job": "b"}, True)
    assert [group.labels for group in Gateway(url).groups()] == [{"job": "c"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune"], "--older-than"),
        (["prune", "--older-than", "0d"], "above 0"),
        (["prune", "--older-than", "7"], "'7' has no unit; write 7d, 7h or 7s"),
        (["prune", "--older-than", "1d", "k~v"], "no matcher"),
        (["delete"], "give a MATCHER such as job=old, or --job"),
        (["delete", ""], "no matcher"),
        (["delete", "job=a", "--job", "a"], "either"),
        (["delete", "instance="], "every group without that label"),
        (["delete", "env!=test"], 'add job=~".+"'),
        (["delete", "job=~.*"], "every group without that label"),
        (["delete", "--job", "a", "--json"], "go with MATCHER"),
        (["delete", "--job", "a", "--group", "instance=", "--keep"], "--keep is not for"),
        (["delete", "--job", "a", "--dry-run"], "go with MATCHER"),
        (["groups", "job=~("], "regular expression"),
        (["delete", "a", "b"], "a group has one job; for any of these write 'job=~a|b'"),
    ],
)
def test_what_could_delete_the_wrong_groups_is_wrong_usage(cli, arguments, words):
    code, out, (error,) = cli(*arguments, "--gateway", "127.0.0.1:1")
    assert (code, out) == (2, "")
    assert words in error


def test_delete_takes_all_that_match(cli, gateway_url):
    for job, instance in (("a", "x"), ("a", "y"), ("b", "x")):
        push(gateway_url, job, instance=instance)
    delete = ("delete", "--gateway", gateway_url, "job=a", "instance!=y")
    assert cli(*delete, "--dry-run")[1].startswith('would delete  {job="a",instance="x"}\n')
    code, out, (error,) = cli(*delete)
    assert (code, out, len(Gateway(gateway_url).groups())) == (1, "", 3)
    assert error == (
        "pushgate: nothing was deleted: it would be 1 of the gateway's 3 groups, 1 of them pushed"
        " within an hour; --dry-run shows them, --yes deletes them"
    )
    assert cli(*delete, "--yes")[1] == 'deleted  {job="a",instance="x"}\n1 group deleted\n'
    assert len(Gateway(gateway_url).groups()) == 2
    (entry,) = json.loads(cli(*delete[:3], "b", "--json", "--yes")[1])
    assert (entry["labels"]["job"], entry["deleted"]) == ("b", True)
    cli("delete", "--gateway", gateway_url, 'job=~".+"', "--yes")
    assert Gateway(gateway_url).groups() == []


# pexpect's child executes the command at once.
@pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")
@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("\n", 1, 2), ("", 1, 2)])
def test_at_a_terminal_it_asks_before_it_deletes_much(pushgateway, typed, code, left):
    for job in ("a", "b\x1b"):
        push(pushgateway.url, job)
    command = shlex.join([sys.executable, "-m", "pushgate", "delete", "job=~.+"])
    child = pexpect.spawn(
        "/bin/sh", ["-c", f"{command} --gateway {pushgateway.url} 2>&1"], timeout=30
    )
    child.expect_exact("delete them? [y/N] ")
    asked = child.before.decode()
    child.send(typed) if typed else child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, len(pushgateway.groups())) == (code, left)
    assert '{job="a"}' in asked
    assert '{job="b\\x1b"}' in asked
    assert "it would be 2 of the gateway's 2 groups, 2 of them pushed within an hour" in asked


@pytest.mark.parametrize("value", ["-Inf", "+Inf", "NaN", "-1", "1e300", "1700000000000"])
def test_a_time_that_no_clock_shows_counts_as_absent_and_harms_no_other_group(cli, gateway, value):
    names = ("group_expiry", "last_start", "last_completion", "last_deadline_missed")
    values = {f"batch_job_{name}_timestamp_seconds": value for name in names}
    values["batch_job_last_run_success"] = 1
    text = "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in values.items())
    assert gateway.exchange("PUT", "/metrics/job/odd", text).status == 200
    report(gateway.url, "backup", 60)
    (group,) = (g for g in Gateway(gateway.url).groups() if g.labels == {"job": "odd"})
    assert group.value("batch_job_group_expiry_timestamp_seconds") is None
    there = ("--gateway", gateway.url)
    assert cli("prune", "--older-than", "1d", *there) == (0, "0 groups deleted\n", [])
    assert " stale" not in cli("doctor", *there)[1]
    assert cli("groups", *there)[0] == 0
    (row,) = json.loads(cli("status", "--json", "job=odd", *there)[1])
    assert row["numbers"] == {"last_run_success": 1}
    assert cli("status", *there)[1].endswith("2 jobs, all well\n")


def test_a_group_with_an_empty_instance_can_be_deleted_and_its_twin_stays(cli, fresh_gateway):
    for path in ("/metrics/job/a/instance@base64/=", "/metrics/job/a"):
        fresh_gateway.exchange("PUT", path, "m 1\n")
    delete = ("delete", "--gateway", fresh_gateway.url, "--job", "a", "--group", "instance=")
    assert cli(*delete) == (0, "", [])
    assert {"job": "a", "instance": ""} not in fresh_gateway.groups()
    assert len(fresh_gateway.groups()) <= 1


def test_status_has_a_line_for_each_job_and_3_where_one_is_bad(cli, gateway_url):
    report(gateway_url, "backup", 9010, every=DAY)
    push(gateway_url, "backup", origin="job")
    status = ("status", "--gateway", gateway_url)
    code, out, errors = cli(*status)
    assert (code, errors) == (0, [])
    assert [line.split() for line in out.splitlines()] == [
        ["JOB", "LAST", "RUN", "WHEN", "TOOK", "LAST", "OK", "NEXT", "EVERY"],
        ["backup", "succeeded", "2h", "ago", "10s", "2h", "ago", "in", "21h", "1d"],
        ["1", "job,", "all", "well"],
    ]
    report(gateway_url, "report", 280, Status.FAILURE, command=CommandEnd(3))
    report(gateway_url, "load", 280, Status.FAILURE, exception="ValueError")
    report(gateway_url, "late", 2.6 * DAY, every=DAY)
    code, out, _ = cli(*status)
    first, second, third = (" ".join(line.split()) for line in out.splitlines()[1:4])
    assert code == 3
    assert first == "late succeeded 2d ago 10s 2d ago overdue 38h 1d"
    assert second == "load failed (ValueError) 4m ago 10s never - never succeeded"
    assert third == "report failed (exit 3) 4m ago 10s never - never succeeded"
    assert out.splitlines()[-1] == "4 jobs, 3 to look at"
    assert cli(*status, "job=backup")[0] == 0
    for output in ((), ("--json",)):
        assert cli(*status, "job=forgotten", *output)[0] == 3
    (row,) = json.loads(cli(*status, "job=report", "--json")[1])
    assert (row["name"], row["bad"], row["detail"]) == ("report", True, "exit 3")
    assert row["numbers"]["last_exit_code"] == 3


def test_a_job_that_is_paused_alarms_nobody_until_that_is_over(cli, gateway_url):
    there = ("--gateway", gateway_url)
    report(gateway_url, "backup", 60, Status.FAILURE)
    push(gateway_url, "backup", origin="job")
    code, out, errors = cli("pause", "backup", "--for", "2h", *there)
    assert (code, errors) == (0, [])
    assert out.startswith('{job="backup"}  paused for 2h, until ')
    code, out, _ = cli("status", *there)
    assert code == 0
    assert "failed" in out
    assert "paused for " in out
    assert out.endswith("1 job, 1 paused\n")
    report(gateway_url, "backup", 30, Status.FAILURE)  # which does not end it
    (row,) = json.loads(cli("status", "--json", *there)[1])
    assert (row["bad"], row["failed"]) == (False, True)
    assert row["paused_until"] - time.time() == pytest.approx(7200, abs=60)
    assert cli("resume", "job=~back.*", *there)[1] == '{job="backup"}  resumed\n'
    assert cli("status", *there)[0] == 3
    assert cli("pause", "backup", "--for", "1s", "-q", *there) == (0, "", [])
    (group, _) = sorted(Gateway(gateway_url).groups(), key=lambda group: len(group.labels))
    assert not job_rows([group], now=time.time() + 5)[0].paused_until


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pause", "--for", "2h"], 2, "give a job's name or a MATCHER"),
        (["pause", "x"], 2, "give --for"),
        (["pause", "env=", "--for", "2h"], 2, "every job without that label"),
        (["pause", "x", "--for", "2"], 2, "write 2d, 2h or 2s"),
        (["pause", "x", "--for", "40d"], 2, "31d is the longest"),
        (["resume", "nobody"], 1, "holds no matching job"),
    ],
)
def test_a_pause_says_of_what_and_for_how_long(cli, pushgateway, arguments, code, words):
    found, out, (error,) = cli(*arguments, "--gateway", pushgateway.url)
    assert (found, out) == (code, "")
    assert words in error


def test_status_does_not_call_well_what_it_has_doubts_about(cli, gateway):
    report(gateway.url, "backup", 60)
    gateway.exchange("POST", "/metrics/job/backup", "# TYPE m counter\nm 1 1\n")
    code, out, _ = cli("status", "--gateway", gateway.url)
    assert code == 0
    assert "push refused" in out
    assert out.endswith("1 job, 1 in doubt\n")


def test_status_says_where_a_hosts_clock_is_ahead(cli, gateway_url):
    report(gateway_url, "backup", -7300)
    code, out, _ = cli("status", "--gateway", gateway_url)
    assert code == 0
    assert "its host's clock is 2h ahead" in out
    assert out.endswith("1 job, 1 in doubt\n")


def test_status_tells_of_refused_pushes_where_there_is_no_job(cli, gateway):
    push(gateway.url, "j")
    gateway.exchange("PUT", "/metrics/job/k", "# TYPE m counter\nm 1\n")
    code, out, errors = cli("status", "--gateway", gateway.url)
    assert (code, out) == (0, "1 more group with a refused push: pushgate groups\n")
    assert errors == [f"pushgate: {gateway.url} holds no job"]


def test_status_of_a_gateway_that_is_down_tells_what_waits_here(cli, monkeypatch, tmp_path):
    url = "http://127.0.0.1:1"
    settings = Settings(gateway=url, outbox=str(tmp_path / "outbox"))
    monkeypatch.setenv("PUSHGATE_OUTBOX", settings.outbox)
    assert settings.to_outbox().keep(url, [("POST", GroupingKey("j"), b"m 1\n", time.time())])
    code, out, errors = cli("status", "--gateway", url, "--retries", "0")
    assert (code, out, len(errors)) == (1, "", 2)
    assert "1 group not delivered yet" in errors[0]
    assert "127.0.0.1:1" in errors[1]


# pexpect's child executes the command at once.
@pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")
def test_status_can_be_watched_at_a_terminal_of_any_width(pushgateway):
    report(pushgateway.url, "a-job-with-a-rather-long-name", 60, every=DAY)
    command = ["-m", "pushgate", "status", "--watch", "0.2", "--gateway", pushgateway.url]
    environ = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    child = pexpect.spawn(
        sys.executable, command, timeout=30, dimensions=(24, 60), encoding="utf-8", env=environ
    )
    child.expect_exact("1 job, all well")
    report(pushgateway.url, "a-job-with-a-rather-long-name", 30, Status.FAILURE, every=DAY)
    child.expect_exact("1 job, 1 to look at")
    picture = re.sub(r"\x1b\[\d*[a-zA-Z]", "", child.before).rpartition("JOB")[2]
    assert "failed" in picture
    assert max(map(len, picture.splitlines())) <= 60
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_ages_are_by_the_gateways_clock(cli, two_days_ago):
    push(two_days_ago.url, "j")
    for command in ("show", "groups"):
        assert "2d ago" not in cli(command, "--gateway", two_days_ago.url)[1]


def test_a_table_has_colors_and_fits_only_on_terminals(cli, pushgateway, monkeypatch):
    report(pushgateway.url, "a" * 60, 60, Status.FAILURE, every=DAY)
    report(pushgateway.url, "日本", 60)
    status = ("status", "--gateway", pushgateway.url)
    _, first, second, _ = cli(*status)[1].splitlines()
    assert first.startswith(f"{'a' * 60}  failed  ")
    assert second.startswith(f"日本{' ' * 56}  succeeded")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for columns, last in ((100, "EVERY"), (80, "NEXT"), (52, "OK")):
        monkeypatch.setenv("COLUMNS", str(columns))
        *lines, loss = cli(*status)[1].splitlines()
        assert loss.startswith("the gateway was started ")
        assert lines[0].split()[-1] == last
        assert re.match(r"(a+)…(a+)  \x1b\[31mfailed *\x1b\[0m  ", lines[1])
        assert lines[2] == "    never succeeded"
        assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in lines) <= columns
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli(*status)[1]


def test_an_odd_job_makes_only_its_own_line_long(cli, pushgateway):
    report(pushgateway.url, "y" * 5000, 60, every=1e300)
    report(pushgateway.url, "j", 60)
    _, *rows, _ = cli("status", "--gateway", pushgateway.url)[1].splitlines()
    short, long = sorted(rows, key=len)
    assert (len(short) < 200, len(long) < 5200) == (True, True)
    assert long.endswith(">100y")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0421, "0.042s"), (9.96, "10s"), (59.6, "1m"), (125, "2m 5s"), (3600, "1h"),
     (12_000, "3h 20m"), (90_000, "1d 1h"), (9 * DAY, "9d")],
)  # fmt: skip
def test_a_duration_is_written_in_one_or_two_units(cli, pushgateway, seconds, text):
    report(pushgateway.url, "j", seconds + 60, took=seconds)
    row = cli("status", "--gateway", pushgateway.url)[1].splitlines()[1]
    assert re.split("  +", row)[3] == text
