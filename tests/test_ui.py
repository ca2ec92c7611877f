"""The page of all jobs: what it shows, what it lets nobody do, and who may read it."""

import base64
import hashlib
import http.client
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import pytest

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Status,
    end_families,
    start_families,
)
from support.fault_proxy import fault_proxy
from support.servers import ui

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "--><b>$picture ${script}",
    "</title></table><h1>all well",
)
LINK = "https://airflow.example/log?dag=a&run=\"b'"


class Page(HTMLParser):
    """What a browser would find: tags, texts by tag, and the links."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.texts = [], [], {}
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def with_class(self, name):
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def report(gateway, key, status=Status.SUCCESS, *, ago=60, every=None, **where):
    exception = where.pop("exception", "")
    run = JobRun(key, time.time() - ago - 5, every, **where)
    outcome = Outcome(status, time.time() - ago, 5, exception=exception)
    gateway.pushadd(key, end_families(run, outcome))


@pytest.fixture
def written(cli, server, tmp_path):
    """Writes the page, and returns the exit code and the page."""

    def written(*arguments):
        file = tmp_path / "jobs.html"
        code, out, _ = cli("status", "--gateway", server.url, "--html", str(file), *arguments)
        assert out == ""
        return code, Page(file.read_text())

    return written


def test_the_page_has_the_jobs_and_verdicts_of_status_in_its_order(cli, server, written):
    gateway = Gateway(server.url)
    report(gateway, GroupingKey("well"), host="h1")
    report(gateway, GroupingKey("late"), ago=9000, every=3600)
    report(gateway, GroupingKey("broken"), Status.FAILURE, exception="KeyError", url=LINK)
    report(gateway, GroupingKey("lost"))
    vanished = JobRun(GroupingKey("lost"), time.time(), vanished_at=time.time())
    gateway.pushadd("lost", start_families(vanished))

    _, as_json, _ = cli("status", "--gateway", server.url, "--json")
    code, page = written()

    assert code == 3
    assert page.texts["bdi"][1:] == ["broken", "KeyError", "late", "lost", "well", "h1"]
    names = [row["name"] for row in json.loads(as_json)]
    assert names == [name for name in page.texts["bdi"] if name in names]
    assert page.texts["th"][-3:] == ["To look at · 2", "In doubt · 1", "The others · 1"]
    assert page.texts["title"] == [f"(2) jobs of {server.url}"]
    assert page.texts["p"][0] == "4 jobs, 2 to look at, 1 in doubt"
    assert page.texts["small"] == ["never succeeded", "a run vanished"]
    assert page.texts["strong"] == [" failed", " overdue 90m"]
    assert page.links == [LINK]


def test_only_matching_jobs_are_shown_and_no_job_is_said(written, server):
    code, page = written()
    assert code == 0
    assert "pushgate run --job NAME" in " ".join(page.texts["code"])
    report(Gateway(server.url), GroupingKey("a"), Status.FAILURE)
    report(Gateway(server.url), GroupingKey("b"))
    code, page = written("b")
    assert (code, len(page.with_class("job"))) == (0, 1)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_push_is_text_and_nothing_else(written, server, text):
    plain = written()[1]
    key = GroupingKey(text, {"label": text})
    where = {"host": text, "run_id": text, "url": f"http://{text}", "exception": text}
    report(Gateway(server.url), key, Status.FAILURE, **where)
    _, page = written()
    added = {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags}
    assert added <= {"table", "thead", "tbody", "tr", "th", "td", "a", "small", "strong", "span"}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert text in "".join(page.texts["bdi"])


@pytest.mark.parametrize("url", ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "x"])
def test_what_is_no_web_address_makes_no_link(written, server, url):
    report(Gateway(server.url), GroupingKey("j"), Status.FAILURE, url=url)
    assert written()[1].links == []


def test_the_policy_lets_the_pages_own_script_and_style_run_alone(written):
    _, page = written()
    (policy,) = (attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    for tag in ("script", "style"):
        digest = hashlib.sha256("".join(page.texts[tag]).encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.startswith("default-src 'none';")
    assert not [attrs for _, attrs in page.tags if "style" in attrs or "src" in attrs]


def test_a_gateway_that_is_down_leaves_the_last_picture_and_says_why(
    cli, server, written, tmp_path
):
    report(Gateway(server.url), GroupingKey("j"))
    url, file = server.url, tmp_path / "jobs.html"
    written()
    server.stop()
    for _ in range(2):
        code, _, lines = cli("status", "--gateway", url, "--retries", "0", "--html", str(file))
        page = Page(file.read_text())
        assert (code, len(page.with_class("job")), len(lines)) == (1, 1, 1)
        (error,) = [text for text in page.texts["p"] if "can't be read" in text]
        assert "Connection refused" in error
    server.start()
    assert "can't be read" not in str(written()[1].texts["p"])


def test_a_first_page_of_a_gateway_that_is_down_says_so(cli, tmp_path):
    file = tmp_path / "jobs.html"
    url = "http://127.0.0.1:1"
    code, _, _ = cli("status", "--gateway", url, "--retries", "0", "--html", str(file))
    assert code == 1
    assert "can't be read" in str(Page(file.read_text()).texts["p"])


def test_the_file_is_replaced_behind_a_link_and_readable_by_others(written, tmp_path):
    (tmp_path / "jobs.html").symlink_to(tmp_path / "real.html")
    before = os.umask(0o022)
    try:
        written()
    finally:
        os.umask(before)
    assert (tmp_path / "jobs.html").is_symlink()
    assert (tmp_path / "real.html").stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["jobs.html", "real.html"]


def test_a_file_that_cant_be_written_is_named(cli, server, tmp_path):
    file = tmp_path / "no" / "jobs.html"
    code, _, (line,) = cli("status", "--gateway", server.url, "--html", str(file))
    assert (code, f"can't write {file}" in line) == (1, True)
    assert cli("status", "--gateway", server.url, "--html", str(file), "--json")[0] == 2


@pytest.fixture
def served(server):
    with ui("--gateway", server.url) as port:
        yield port


def ask(port, method="GET", path="/", *, hosts=("127.0.0.1",)):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def until(port, text):
    """The page, once it has the text: it is read anew every two seconds."""
    due = time.monotonic() + 30
    while text not in (page := ask(port)[1]):
        assert time.monotonic() < due
        time.sleep(0.1)
    return Page(page.decode())


def test_ui_serves_the_page_and_reads_the_gateway_for_it(served, server):
    report(Gateway(server.url), GroupingKey("j"))
    response, body = ask(served)
    page = Page(body.decode())
    assert (response.status, len(page.with_class("job"))) == (200, 1)
    assert [attrs["data-reload"] for _, attrs in page.tags if "data-reload" in attrs] == ["10"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"

    head, nothing = ask(served, "HEAD")
    assert (head.status, nothing) == (200, b"")


def test_ui_keeps_the_last_picture_while_the_gateway_is_down(served, server):
    report(Gateway(server.url), GroupingKey("j"))
    ask(served)
    server.stop()
    page = until(served, b"can&#x27;t be read")
    assert len(page.with_class("job")) == 1


@pytest.mark.parametrize(
    "answer", [None, b"{}", b'{"data": {"result": [{"metric": 1}]}}', b"<html>"]
)
def test_ui_says_that_a_prometheus_cant_be_read_beside_the_jobs(server, httpserver, answer):
    report(Gateway(server.url), GroupingKey("j"))
    url = httpserver.url_for("")
    if answer is None:
        url = "127.0.0.1:1"
    else:
        kind = "text/html" if b"html" in answer else "application/json"
        httpserver.expect_request("/api/v1/query_range").respond_with_data(answer, 200, None, kind)
    with ui("--gateway", server.url, "--prometheus", url) as port:
        page = until(port, b"Prometheus ")
    assert len(page.with_class("job")) == 1
    (note,) = [text for text in page.texts["p"] if text.startswith("Prometheus ")]
    assert "can't be read: " in note
    assert not [word for word in ("batch_job", "Pushgateway") if word in note]


def test_ui_shows_the_last_picture_while_a_gateway_hangs_for_another_reader(server):
    report(Gateway(server.url), GroupingKey("j"))
    with (
        fault_proxy(int(server.url.rpartition(":")[2])) as proxy,
        ui("--gateway", proxy.url, "--timeout", "60s") as port,
        ThreadPoolExecutor() as others,
    ):
        ask(port)
        proxy.hang()
        asked = []
        while not proxy.met_fault:  # the picture may be two seconds old before it is read again
            asked.append(others.submit(ask, port))
            time.sleep(0.1)
        assert len(Page(ask(port)[1].decode()).with_class("job")) == 1
        assert not all(other.done() for other in asked)
        proxy.close()
        assert {other.result()[0].status for other in asked} == {200}


def test_ui_has_one_page_which_can_only_be_read_under_its_own_name(served):
    assert ask(served, hosts=["localhost:8080"])[0].status == 200  # an SSH tunnel
    for hosts in (
        ["evil.example"],
        ["127.0.0.1.evil.example"],
        ["127.0.0.1", "evil.example"],
        ["[::1"],
        [],
    ):
        assert ask(served, hosts=hosts)[0].status == 421, hosts
    assert ask(served, path="/etc/passwd")[0].status == 404
    assert ask(served, "POST")[0].status == 501
    assert ask(served, "DELETE")[0].status == 501


def test_ui_says_which_port_is_taken(cli, server, served):
    code, _, (line,) = cli("ui", "--gateway", server.url, "--port", str(served))
    assert (code, f"--port {served + 1}" in line) == (1, True)
