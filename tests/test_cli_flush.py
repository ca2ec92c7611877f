"""What waits, on the command line: `flush`, and `push` and `delete` with --keep."""

import json
import os
import time

import pytest

from pushgate import Gateway, GroupingKey, Settings, gauge
from pushgate.cli import main

OTHER = "http://other.invalid:9091"


@pytest.fixture
def outbox(server, monkeypatch):
    monkeypatch.setenv("PUSHGATE_GATEWAY", server.url)
    return Settings().to_outbox()


@pytest.fixture
def flush(cli):
    def run(*arguments):
        code, out, err = cli("flush", *arguments)
        return code, out.splitlines(), err

    return run


def keep(outbox, url, job="a", age=100.0):
    text = b"# TYPE x gauge\nx 1\n"
    assert outbox.keep(url, [("PUT", GroupingKey(job), text, time.time() - age)])


def test_it_delivers_for_the_configured_gateway_and_names_the_others(server, outbox, flush):
    keep(outbox, server.url)
    keep(outbox, OTHER)
    assert flush() == (
        0,
        [
            f"1 group delivered to {server.url}",
            f"1 group for another gateway, {OTHER}: give --gateway to deliver",
        ],
        [],
    )
    assert [group.labels for group in Gateway(server.url).groups()] == [{"job": "a"}]
    assert [group.url for group in outbox.waiting()] == [OTHER]
    assert flush("--quiet") == (0, [], [])


def test_what_the_gateway_holds_newer_is_told_on_stderr(server, outbox, flush):
    Gateway(server.url).send("PUT", GroupingKey("a"), b"# TYPE x gauge\nx 2\n")
    keep(outbox, server.url)
    code, (line,), (complaint,) = flush()
    assert (code, line) == (0, f"0 groups delivered to {server.url}, 1 not, or not whole")
    assert '{job="a"}: x not sent: the gateway holds a push from' in complaint


def test_it_fails_while_something_is_left(server, outbox, flush):
    keep(outbox, server.url)
    server.stop()
    code, lines, (complaint,) = flush("--retries", "0")
    server.start()
    assert (code, lines) == (1, [f"0 groups delivered to {server.url}, 1 left"])
    assert "Connection refused" in complaint


def test_the_list_shows_all_that_waits_without_a_request(outbox, flush, monkeypatch):
    monkeypatch.delenv("PUSHGATE_GATEWAY")
    assert flush("--list") == (0, [f"nothing waits in {outbox.path}"], [])
    keep(outbox, OTHER)
    outbox.keep(OTHER, [("DELETE", GroupingKey("b", {"k": "v"}), b"", time.time())])
    code, (_, first, second), _ = flush("--list")
    assert code == 0
    assert all(part in first for part in ('{job="a"}', OTHER, "PUT of 1 metric", " ago"))
    assert all(part in second for part in ('{job="b",k="v"}', "DELETE", "just now"))


def test_a_script_gets_the_list_as_json(outbox, flush, monkeypatch):
    monkeypatch.delenv("PUSHGATE_GATEWAY")
    keep(outbox, OTHER)
    code, lines, _ = flush("--list", "--json")
    (group,) = json.loads("".join(lines))
    assert (code, group["labels"], group["url"], group["method"]) == (0, {"job": "a"}, OTHER, "PUT")
    assert flush("--json")[0] == 2


def test_what_waits_for_a_gateway_that_moved_is_delivered(server, outbox, flush):
    keep(outbox, OTHER)
    _, lines, _ = flush("--from", OTHER, "--dry-run")
    assert lines == [f"1 group would be delivered to {server.url}"]
    assert flush("--from", OTHER) == (0, [f"1 group delivered to {server.url}"], [])
    assert [group.labels for group in Gateway(server.url).groups()] == [{"job": "a"}]
    assert outbox.is_empty()


def test_what_nobody_needs_any_more_is_discarded_and_shown(server, outbox, flush):
    for job in "ab":
        keep(outbox, OTHER, job)
        keep(outbox, server.url, job)
    shown = f'{{job="a"}}  PUT of 1 metric  for {OTHER}'
    discard = ("--discard", OTHER, "job=~a|c")
    assert flush(*discard, "--dry-run") == (0, [shown, "1 group would be discarded"], [])
    assert flush(*discard) == (0, [shown, "1 group discarded"], [])
    assert flush("--discard", server.url)[1][-1] == "2 groups discarded"
    assert [group.labels for group in outbox.waiting()] == [{"job": "b"}]


def test_where_there_is_no_outbox_to_use_it_fails(tmp_path, server, flush):
    assert flush("--outbox", "off")[0] == 1
    path = tmp_path / "outbox.sqlite3"
    path.write_text("of an older version")
    for outbox in (path, path / "outbox"):
        for arguments in ((), ("--list",)):
            code, lines, (complaint,) = flush("--outbox", str(outbox), *arguments)
            assert (code, lines) == (1, [])
            assert "is not a folder" in complaint


# --keep

WAITS = "it waits in the outbox and will be delivered later"


@pytest.fixture
def call(server, cli):
    """Runs a command; returns its exit code and the lines of its stderr."""
    there = ("--job=backup", f"--gateway={server.url}", "--retries=0")
    return lambda command, *words, data="": cli(command, *there, *words, stdin=data)[::2]


def test_push_and_delete_keep_when_asked_to(server, call):
    url = server.url
    assert call("push", data=b"a 1\n") == (0, [])
    server.stop()
    code, (line,) = call("push", "--group", "k=v", data=b"a 2\n")
    assert (code, WAITS in line) == (1, False)
    for command, *words in (["push", "--group", "k=v"], ["delete"]):
        code, (line,) = call(command, "--keep", *words, data=b"b 1\n")
        assert (code, line.endswith(WAITS)) == (0, True)
    server.start()
    assert main(["flush", f"--gateway={url}"]) == 0
    assert [group.labels for group in Gateway(url).groups()] == [{"job": "backup", "k": "v"}]


def test_what_a_gateway_refuses_for_good_is_not_kept(server, call):
    Gateway(server.url).push("other", [gauge("a", "", 1)])
    code, (line,) = call("push", "--keep", data=b"# TYPE a counter\na 1\n")
    assert (code, WAITS in line) == (1, False)
    assert Settings.load({}, dict(os.environ)).to_outbox().is_empty()


def test_keep_without_an_outbox_is_told_when_it_matters(server, call):
    assert call("push", "--keep", "--outbox", "off", data=b"a 1\n") == (0, [])
    server.stop()
    code, (line,) = call("push", "--keep", "--outbox", "off", data=b"a 1\n")
    assert code == 1
    assert "no outbox" in line
