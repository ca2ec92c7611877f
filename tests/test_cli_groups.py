"""groups, prune, delete, status and doctor as a person and as a script meet them."""

import json
import os
import time
import urllib.request

import pytest

from pushgate import (
    CommandEnd,
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Reporter,
    Settings,
    Status,
    gauge,
)
from pushgate.cli import main
from pushgate.cli.formatting import print_table, span
from pushgate.embedded import EmbeddedGateway
from support.faults import FaultServer, answer, respond

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if "PUSHGATE" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def cli(capsys):
    """Run a command in this process; returns its exit code, stdout and the lines of stderr."""

    def run(*arguments):
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@pytest.fixture
def two_days_ago():
    """A gateway whose clock can be moved: it begins two and a half days ago."""

    class Clock:
        ahead = -2.5 * DAY

        def __call__(self):
            return time.time() + self.ahead

    clock = Clock()
    with EmbeddedGateway(clock=clock) as server:
        server.now = lambda: setattr(clock, "ahead", 0.0)
        yield server


def push(url, job, **labels):
    Gateway(url).push(job, gauge("m", "h", 1), labels)


def report(url, job, ago, status=Status.SUCCESS, took=10.0, every=None, **outcome):
    run = JobRun(GroupingKey(job), time.time() - ago, every)
    Reporter(Gateway(url)).finished(run, Outcome(status, time.time() - ago + took, took, **outcome))


def test_groups_are_listed_with_the_oldest_first(cli, two_days_ago):
    url = two_days_ago.url
    push(url, "old", instance="a\x1b[2J")
    two_days_ago.now()
    push(url, "new")
    code, out, errors = cli("groups", "--gateway", url)
    head, first, second, total = out.splitlines()
    assert (code, errors) == (0, [])
    assert head.split() == ["GROUP", "LAST", "PUSH", "REFUSED", "FAMILIES", "SAMPLES"]
    assert first.split("  ")[0] == '{job="old",instance="a\\u001b[2J"}'
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
    assert cli(*prune, "--match", "job=a", "--dry-run") == (
        0,
        f"would delete  {line}\n1 group would be deleted\n",
        [],
    )
    assert len(Gateway(url).groups()) == 3
    assert cli(*prune, "--match", "job=a") == (0, f"deleted  {line}\n1 group deleted\n", [])
    (entry,) = json.loads(cli(*prune, "--json")[1])
    assert (entry["labels"], entry["deleted"]) == ({"job": "b"}, True)
    assert [group.labels for group in Gateway(url).groups()] == [{"job": "c"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune"], "--older-than"),
        (["prune", "--older-than", "0"], "above 0"),
        (["prune", "--older-than", "1d", "--match", "backup"], "no matcher"),
        (["delete"], "--job, or --match"),
        (["delete", "--match", ""], "no matcher"),
        (["delete", "--match", "job=a", "--job", "a"], "either"),
        (["delete", "--match", "instance="], "every group without that label"),
        (["delete", "--job", "a", "--json"], "are for --match"),
        (["delete", "--job", "a", "--group", "instance=", "--keep"], "--keep is not for"),
        (["delete", "--job", "a", "--dry-run"], "are for --match"),
        (["groups", "job=~("], "regular expression"),
    ],
)
def test_what_could_delete_the_wrong_groups_is_wrong_usage(cli, arguments, words):
    code, out, (error,) = cli(*arguments, "--gateway", "127.0.0.1:1")
    assert (code, out) == (2, "")
    assert words in error


def test_delete_takes_all_that_match(cli, gateway_url):
    for job, instance in (("a", "x"), ("a", "y"), ("b", "x")):
        push(gateway_url, job, instance=instance)
    delete = ("delete", "--gateway", gateway_url, "--match", "job=a", "--match", "instance!=y")
    assert cli(*delete, "--dry-run")[1].startswith('would delete  {job="a",instance="x"}\n')
    assert cli(*delete)[1] == 'deleted  {job="a",instance="x"}\n1 group deleted\n'
    assert len(Gateway(gateway_url).groups()) == 2
    (entry,) = json.loads(cli(*delete[:3], "--match", "job=b", "--json")[1])
    assert (entry["labels"]["job"], entry["deleted"]) == ("b", True)
    cli("delete", "--gateway", gateway_url, "--match", 'job=~".*"')
    assert Gateway(gateway_url).groups() == []


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
        ["JOB", "LAST", "RUN", "WHEN", "TOOK", "NEXT"],
        ["backup", "succeeded", "2h", "ago", "10s", "in", "21h"],
        ["1", "job,", "all", "well"],
    ]
    report(gateway_url, "report", 280, Status.FAILURE, command=CommandEnd(3))
    report(gateway_url, "late", 2.6 * DAY, every=DAY)
    code, out, _ = cli(*status)
    first, second = (" ".join(line.split()) for line in out.splitlines()[1:3])
    assert code == 3
    assert first == "late succeeded 2d ago 10s overdue 38h"
    assert second == "report failed (exit 3) 4m ago 10s - never succeeded"
    assert out.splitlines()[-1] == "3 jobs, 2 to look at"
    assert cli(*status, "job=backup")[0] == 0
    for output in ((), ("--json",)):
        assert cli(*status, "job=forgotten", *output)[0] == 3
    (row,) = json.loads(cli(*status, "job=report", "--json")[1])
    assert (row["name"], row["bad"], row["detail"]) == ("report", True, "exit 3")
    assert row["numbers"]["last_exit_code"] == 3


def test_status_does_not_call_well_what_it_has_doubts_about(cli, gateway):
    report(gateway.url, "backup", 60)
    gateway.exchange("POST", "/metrics/job/backup", "# TYPE m counter\nm 1 1\n")
    code, out, _ = cli("status", "--gateway", gateway.url)
    assert code == 0
    assert "push refused" in out
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


@pytest.mark.parametrize("command", ["status", "groups", "show", "doctor"])
def test_a_closed_stdout_is_no_error(command, gateway_url, monkeypatch):
    report(gateway_url, "backup", 60)
    monkeypatch.setattr("sys.stdout", None)
    assert main([command, "--gateway", gateway_url]) == 0


def test_ages_are_by_the_gateways_clock(cli, two_days_ago):
    push(two_days_ago.url, "j")
    for command in ("show", "groups"):
        assert "2d ago" not in cli(command, "--gateway", two_days_ago.url)[1]


def test_a_table_colors_only_terminals_and_fits_them(capsys, monkeypatch):
    rows = [("a" * 50, ("bad", "red")), ("日本", "ok")]
    print_table(("NAME", "STATE"), rows)
    assert capsys.readouterr().out.splitlines()[1:] == [f"{'a' * 50}  bad", f"日本{' ' * 46}  ok"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    print_table(("NAME", "STATE"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{'a' * 11}…{'a' * 11}  \x1b[31mbad\x1b[0m"
    assert lines[2].endswith("  ok")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("NAME", "STATE"), rows)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0421, "0.042s"), (9.96, "10s"), (59.6, "1m"), (125, "2m 5s"), (3600, "1h"),
     (12_000, "3h 20m"), (90_000, "1d 1h"), (9 * DAY, "9d")],
)  # fmt: skip
def test_a_span_is_written_in_one_or_two_units(seconds, text):
    assert span(seconds) == text


def checks(cli, *arguments):
    """The exit code and the checks of doctor, as (level, subject, text and advice)."""
    code, out, _ = cli("doctor", "--json", *arguments)
    return code, [
        (check["level"], check["subject"], f"{check['text']} -> {check['advice']}")
        for check in json.loads(out)
    ]


def not_ok(found):
    return [(level, subject) for level, subject, _ in found if level != "ok"]


def test_doctor_finds_nothing_wrong_with_a_gateway_that_is_well(cli, gateway_url, monkeypatch):
    monkeypatch.setenv("PUSHGATEWAY_URL", gateway_url)
    push(gateway_url, "j")
    code, found = checks(cli, "--push")
    assert code == 0
    assert set(not_ok(found)) <= {("warn", "version")}  # real ones keep nothing on disk here
    assert ("ok", "settings", f"gateway = {gateway_url}, from PUSHGATEWAY_URL -> ") in found
    assert [subject for _, subject, _ in found if subject == "push"] == ["push"]
    assert [group.labels for group in Gateway(gateway_url).groups()] == [{"job": "j"}]


def test_doctor_names_settings_that_are_not_used_and_no_secret(cli, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", "http://me@127.0.0.1:1")
    monkeypatch.setenv("PUSHGATEWAY_URL", "http://other:1")
    monkeypatch.setenv("PUSHGATE_PASSWORD", "hunter2-hunter2")
    monkeypatch.setenv("PUSHGATE_HEADERS", "X-Key: hunter2-hunter2")
    code, found = checks(cli)
    assert code == 1
    assert ("FAIL", "network") in not_ok(found)
    assert any("PUSHGATEWAY_URL is set as well and not used" in text for _, _, text in found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("status", "options", "words"),
    [
        ("401 Unauthorized", [], "asks for credentials"),
        ("401 Unauthorized", ["--username", "me"], "credentials are refused"),
        ("403 Forbidden", [], "have it allowed"),
        ("404 Not Found", [], "path prefix"),
        ("503 Service Unavailable", [], "in front of it"),
        ("200 OK", [], "the address of a Pushgateway"),
    ],
)
def test_doctor_tells_refusals_apart(cli, monkeypatch, status, options, words):
    if options:
        monkeypatch.setenv("PUSHGATE_PASSWORD", "hunter2-hunter2")
    with FaultServer(*[respond(answer(status))] * 3) as server:
        code, found = checks(cli, "--gateway", server.url, *options)
    (text,) = (text for level, subject, text in found if (level, subject) == ("FAIL", "access"))
    assert code == 1
    assert words in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "nothing listens on 127.0.0.1:1"),
        ("http://a..b", "can't be looked up"),
        ("{https}", "write http:// in place of https://"),
    ],
)
def test_doctor_says_why_there_is_no_connection(cli, pushgateway, url, words):
    url = url.format(https=pushgateway.url.replace("http:", "https:"))
    code, found = checks(cli, "--gateway", url, "--timeout", "5")
    assert code == 1
    assert words in next(text for level, _, text in found if level == "FAIL")


def test_doctor_sees_a_proxy_in_the_way(cli, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, found = checks(cli, "--gateway", "http://127.0.0.1:9091")
    assert not_ok(found) == [("warn", "network"), ("FAIL", "network")]
    assert all("no_proxy" in text for level, _, text in found if level != "ok")


def test_doctor_sees_clocks_apart_and_what_the_groups_suffer_from(cli, two_days_ago):
    url = two_days_ago.url
    for number in range(101):
        push(url, "many", run=str(number))
        push(url, "airflow", dag_id="d", task_id=str(number))
    Gateway(url).push("j", gauge("m", "another help", 1))
    request = urllib.request.Request(f"{url}/metrics/job/k", b"# TYPE m counter\nm 1\n")
    with pytest.raises(OSError, match="400"):
        urllib.request.urlopen(request)
    code, found = checks(cli, "--gateway", url)
    texts = [text for level, _, text in found if level == "warn"]
    assert code == 0
    assert "216000 s behind this host's" in texts[0]
    assert 'refused: {job="k"}' in texts[1]
    assert "'many' has 101 groups, with 101 values of the label run" in texts[2]
    assert len(texts) == 3
    assert any(level == "ok" and "several help texts" in text for level, _, text in found)


@pytest.mark.end_to_end
@pytest.mark.parametrize("paths", [
    ["/metrics/job/a%20b/k/%FF%22", "/metrics/job/x/y/%E2%82"],
    ["/metrics/job/a/instance@base64/=", "/metrics/job/a"],
])  # fmt: skip
@pytest.mark.parametrize("kind", ["real-1.5.1", "real-1.11"])
def test_what_doctor_advises_heals_a_poisoned_gateway(cli, paths, kind):
    import shlex

    from support.gateways import open_gateway

    with open_gateway(kind) as server:
        for path in paths:
            server.exchange("PUT", path, "m 1\n")
        for _ in paths:
            _, out, _ = cli("doctor", "--json", "--gateway", server.url)
            advices = [c["advice"] for c in json.loads(out) if c["level"] == "FAIL"]
            for advice in advices:
                command = shlex.split(advice.partition(" and 1 more like it")[0])[1:]
                assert cli(*command, "--gateway", server.url)[0] == 0
        assert cli("doctor", "--json", "--gateway", server.url)[0] == 0
        assert server.exchange("GET", "/metrics").status == 200


@pytest.mark.end_to_end
def test_doctor_sees_two_types_of_one_metric(cli):
    from support.gateways import NEW, open_gateway

    with open_gateway(NEW, "--push.disable-consistency-check") as server:
        for kind in ("counter", "gauge"):
            server.exchange("PUT", f"/metrics/job/{kind}", f"# TYPE m {kind}\nm 1\n")
        code, found = checks(cli, "--gateway", server.url)
    assert code == 1
    assert ("FAIL", "scrape") in not_ok(found)
    assert any("m has two types: " in text for _, _, text in found)
    assert any("consistency check is off" in text for _, _, text in found)


def test_doctor_fails_on_a_compression_that_the_gateway_does_not_take():
    from pushgate.doctor.check_gateway import check_version

    for version, level in (("1.5.1", "FAIL"), ("1.6.0", "ok"), ("2.0.0", "ok")):
        assert [c.level for c in check_version(version, {}, "snappy")][-1] == level


def test_doctor_warns_of_the_versions_that_lose_most_of_a_push_in_protobuf():
    from pushgate.doctor.check_gateway import check_version

    for version, levels in (("1.6.2", ["ok"]), ("1.7.0", ["ok", "warn"]), ("1.8.0", ["ok"])):
        found = list(check_version(version, {}, None))
        assert [check.level for check in found] == levels
        assert ("protobuf," in found[0].text) is (len(levels) == 1)


def test_doctor_sees_what_waits_and_an_outbox_that_cannot_be_written(cli, tmp_path, pushgateway):
    path = str(tmp_path / "outbox")
    settings = Settings(gateway=pushgateway.url, outbox=path)
    change = ("POST", GroupingKey("j"), b"m 1\n", time.time())
    assert settings.to_outbox().keep("http://other:9091", [change])
    doctor = ("--gateway", pushgateway.url, "--outbox")
    assert "wait for other gateways: http://other:9091" in str(checks(cli, *doctor, path)[1])
    assert settings.to_outbox().keep(pushgateway.url, [change])
    assert "groups that wait in" in str(checks(cli, *doctor, path)[1])
    code, found = checks(cli, *doctor, f"{path}/in-a-file")
    assert (code, not_ok(found)) == (1, [("FAIL", "outbox")])
