"""`pushgate push --keep` and `delete --keep`: what can't be delivered waits."""

import os

import pytest

from pushgate import Gateway, Settings, gauge
from pushgate.cli import main

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
