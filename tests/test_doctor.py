"""doctor as a person and as a script meet it: what it finds, and that its advice helps."""

import json
import shlex
import time

import pytest

from pushgate import Gateway, GatewayRejectedError, GroupingKey, Outbox, Settings, gauge
from pushgate.embedded import EmbeddedGateway
from support.faults import FaultServer, answer, respond
from support.gateways import NEW, OLD, open_gateway

DAY = 86_400.0


def push(url, job, **labels):
    Gateway(url).push(job, gauge("m", "h", 1), labels)


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


def test_doctor_tells_what_a_fleet_of_celery_workers_asks_of_its_gateway(cli, gateway_url):
    up = gauge("celery_worker_up", "Whether the worker runs.", 1)
    for number in range(2):
        Gateway(gateway_url).push("celery", up, {"instance": f"w{number}"})
        push(gateway_url, "celery", task=f"t{number}")
    _, found = checks(cli, "--gateway", gateway_url)
    (load,) = [text for _, subject, text in found if subject == "load"] or [None]
    if "pushgateway_http_push_duration_seconds" in Gateway(gateway_url).scrape().decode():
        assert "2 Celery workers x 2 active tasks / 60 s" in load
        assert "up to 0.2 pushes a second" in load
    else:
        assert load is None


def test_doctor_names_settings_that_are_not_used_and_no_secret(cli, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", "http://me@127.0.0.1:1")
    monkeypatch.setenv("PUSHGATEWAY_URL", "http://other:1")
    monkeypatch.setenv("PUSHGATE_PASSWORD", "hunter2-hunter2")
    monkeypatch.setenv("PUSHGATE_HEADERS", "X-Key: hunter2-hunter2")
    monkeypatch.setenv("PUSHGATE_TIEMOUT", "hunter2-hunter2")
    code, found = checks(cli)
    assert code == 1
    assert ("FAIL", "network") in not_ok(found)
    assert any("PUSHGATEWAY_URL is set as well and not used" in text for _, _, text in found)
    (text,) = (text for _, _, text in found if "PUSHGATE_TIEMOUT" in text)
    assert text == (
        "PUSHGATE_TIEMOUT is set, and nothing reads it -> did you mean 'PUSHGATE_TIMEOUT'?"
    )
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
        ("200 OK\r\nContent-Type: text/html", [], "path prefix"),
    ],
)
def test_doctor_tells_refusals_apart(cli, monkeypatch, status, options, words):
    if options:
        monkeypatch.setenv("PUSHGATE_PASSWORD", "hunter2-hunter2")
    with FaultServer(*[respond(answer(status, b"<p>"))] * 3) as server:
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


def test_doctor_sees_clocks_apart_and_what_the_groups_suffer_from(cli):
    with EmbeddedGateway(clock=lambda: time.time() - 2.5 * DAY) as server:
        for number in range(101):
            push(server.url, "many", run=str(number))
            push(server.url, "airflow", dag_id="d", task_id=str(number))
        Gateway(server.url).push("j", gauge("m", "another help", 1))
        with pytest.raises(GatewayRejectedError, match="400"):
            Gateway(server.url).send("PUT", GroupingKey("k"), b"# TYPE m counter\nm 1\n")
        code, found = checks(cli, "--gateway", server.url)
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
@pytest.mark.parametrize("kind", [OLD, NEW])
def test_what_doctor_advises_heals_a_poisoned_gateway(cli, tmp_path, paths, kind):
    outbox = Outbox(tmp_path)
    with open_gateway(kind) as server:
        gateway = Gateway(server.url, outbox=outbox)
        for path in paths:
            server.exchange("PUT", path, "m 1\n")
        for job in "cd":  # what this refuses is refused to all
            with pytest.raises(GatewayRejectedError):
                gateway.push(job, gauge("m", "", 1))
        assert outbox.flush(gateway).left == 2
        for _ in paths:
            _, out, _ = cli("doctor", "--json", "--gateway", server.url)
            advices = [c["advice"] for c in json.loads(out) if c["level"] == "FAIL"]
            for advice in advices:
                command = shlex.split(advice.partition(" and 1 more like it")[0])[1:]
                assert cli(*command, "--gateway", server.url)[0] == 0
        assert cli("doctor", "--json", "--gateway", server.url)[0] == 0
        assert server.exchange("GET", "/metrics").status == 200
        assert outbox.flush(gateway)[:3] == (2, (), 0)


@pytest.mark.end_to_end
def test_doctor_sees_two_types_of_one_metric(cli):
    with open_gateway(NEW, "--push.disable-consistency-check") as server:
        for kind in ("counter", "gauge"):
            server.exchange("PUT", f"/metrics/job/{kind}", f"# TYPE m {kind}\nm 1\n")
        code, found = checks(cli, "--gateway", server.url)
    assert code == 1
    assert ("FAIL", "scrape") in not_ok(found)
    assert any("m has two types: " in text for _, _, text in found)
    assert any("consistency check is off" in text for _, _, text in found)


@pytest.mark.parametrize(
    ("version", "compression", "levels"),
    [
        ("1.5.1", "snappy", ["ok", "FAIL"]),
        ("1.6.0", "snappy", ["ok"]),
        ("1.7.0", "none", ["ok", "warn"]),  # of a push in protobuf, it keeps one metric
        ("1.8.0", "none", ["ok"]),
    ],
)
def test_doctor_knows_what_a_version_takes(cli, httpserver, version, compression, levels):
    status = {"build_information": {"version": version}, "flags": {}, "start_time": ""}
    httpserver.expect_request("/api/v1/status").respond_with_json(
        {"status": "success", "data": status}
    )
    url = httpserver.url_for("")
    _, found = checks(cli, "--gateway", url, "--compression", compression)
    assert [level for level, subject, _ in found if subject == "version"] == levels


def test_doctor_sees_what_waits_and_an_outbox_that_cannot_be_written(cli, tmp_path, pushgateway):
    path = str(tmp_path / "outbox")
    settings = Settings(gateway=pushgateway.url, outbox=path)
    change = ("POST", GroupingKey("j"), b"m 1\n", time.time())
    assert settings.to_outbox().keep("http://other:9091", [change])
    doctor = ("--gateway", pushgateway.url, "--outbox")
    assert "for other gateways: 1 group, for http://other:9091" in str(
        checks(cli, *doctor, path)[1]
    )
    assert settings.to_outbox().keep(pushgateway.url, [change])
    assert f"waiting in {path}: 1 group, the oldest" in str(checks(cli, *doctor, path)[1])
    (tmp_path / "file").touch()
    code, found = checks(cli, *doctor, str(tmp_path / "file"))
    assert (code, not_ok(found)) == (1, [("FAIL", "outbox")])
