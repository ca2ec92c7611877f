"""Whatever a server answers, and whatever fails inside, is a PushError, and what was pushed waits.

The answers of a gateway are mutated by a seeded generator: PUSHGATE_TEST_MUTATIONS says how many of
them each call gets.
"""

import http.client
import json
import os
import random
import re
import socket

import pytest
from prometheus_client import CollectorRegistry, Histogram

import pushgate
from pushgate import (
    DirectSink,
    Gateway,
    GatewayUnreachableError,
    GroupingKey,
    JobRun,
    Outbox,
    Outcome,
    PushError,
    Status,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from support.faults import OK, FaultServer

MUTATIONS = int(os.environ.get("PUSHGATE_TEST_MUTATIONS", "8"))
METRICS = [gauge("m", "h", 1)]
RUN = JobRun(GroupingKey("job"), started_at=1.7e9, expected_interval=3600)
OUTCOME = Outcome(Status.SUCCESS, ended_at=1.7e9 + 5, duration=5.0)
ODD_VALUES = (
    *(None, True, -1, 10**400, 1e999, float("nan"), "", "NaN", "-Inf", "1_0", "\ud800", "x" * 9000),
    *([], {}, [[]], {"": {}}, [None], "2026-13-01T00:00:00Z", "9" * 5000, 2**64),
)


def exemplars():
    """Metrics that go by protobuf to a gateway that takes it."""
    registry = CollectorRegistry()
    Histogram("h", "", registry=registry).observe(1, exemplar={"trace": "1"})
    return registry


@pytest.fixture(scope="module")
def answers():
    """The heads and bodies of a gateway's answers, by paths; of pushes by no path."""
    with EmbeddedGateway() as embedded:
        gateway = Gateway(embedded.url)
        DirectSink(gateway).finished(RUN, OUTCOME)
        gateway.push("others", exemplars(), {"instance": "a/b"})
        found = {"": (OK.removesuffix(b"\r\n\r\n"), b"")}
        for path in ("/api/v1/metrics", "/api/v1/status", "/-/ready", "/metrics"):
            connection = http.client.HTTPConnection(*embedded.url.split("//")[1].split(":"))
            connection.request("GET", path)
            response = connection.getresponse()
            lines = "".join(f"\r\n{name}: {value}" for name, value in response.headers.items())
            found[path] = f"HTTP/1.1 200 OK{lines}".encode(), response.read()
            connection.close()
    return found


def mutated(head, body, chance):
    """An answer that is not quite that: with an odd value in its JSON, or odd bytes anywhere."""
    if body.startswith(b"{") and chance.random() < 0.7:
        document = json.loads(body)
        replace_somewhere(document, chance)
        body = json.dumps(document).encode()
        head = re.sub(rb"(?<=Content-Length: )\d+", b"%d" % len(body), head)
        return head + b"\r\n\r\n" + body
    data = bytearray(head + b"\r\n\r\n" + body)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.choice([0, 1, 40])] = chance.randbytes(chance.choice([0, 1, 9]))
    return bytes(data[: chance.choice([len(data), chance.randrange(len(data) + 1)])])


def replace_somewhere(document, chance):
    """Put an odd value in place of another, deep or not."""
    while True:
        keys = list(document) if isinstance(document, dict) else range(len(document))
        key = chance.choice(list(keys))
        inner = document[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.85:
            document = inner
            continue
        document[key] = chance.choice(ODD_VALUES)
        return


class Mutating:
    """The script of a server whose every answer is mutated, or every other one."""

    def __init__(self, answers, seed):
        self._answers = answers
        self._chance = random.Random(seed)

    def __call__(self, peer):
        while seen := peer.request():
            head, body = self._answers.get(seen.target, self._answers[""])
            if self._chance.random() < 0.8:
                peer.send(mutated(head, body, self._chance))
                peer.sock.close()
                return
            peer.send(head + b"\r\n\r\n" + body)


CALLS = {
    "push": lambda gateway: gateway.push("j", METRICS),
    "pushadd": lambda gateway: gateway.pushadd("j", METRICS, {"a": "b"}),
    "push by protobuf": lambda gateway: gateway.push("j", exemplars()),
    "push of UTF-8 names": lambda gateway: Gateway(
        gateway.url, utf8_names=True, retries=0, timeout=2
    ).push("j", gauge("m.x", "", 1)),
    "push_to_gateway": lambda gateway: pushgate.push_to_gateway(gateway.url, "j", METRICS),
    "passthrough": lambda gateway: pushgate.delete_from_gateway(
        gateway.url, "j", timeout=2, handler=pushgate.passthrough_redirect_handler
    ),
    "delete": lambda gateway: gateway.delete("j"),
    "delete_group": lambda gateway: gateway.delete_group({"job": "j", "instance": ""}),
    "ready": lambda gateway: gateway.ready(),
    "groups": lambda gateway: pushgate.job_rows(gateway.groups(), now=1.8e9),
    "status": lambda gateway: gateway.status(),
    "scrape": lambda gateway: gateway.scrape(),
    "clock": lambda gateway: gateway.clock(),
    "prune": lambda gateway: pushgate.prune(gateway, older_than=5, force=True),
    "delete_groups": lambda gateway: pushgate.delete_groups(
        gateway, pushgate.parse_matchers('job=~".+"'), force=True
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_raises_nothing_but_push_errors(name, answers):
    with FaultServer(Mutating(answers, name)) as server:
        for _ in range(MUTATIONS):
            try:
                CALLS[name](Gateway(server.url, retries=0, timeout=2))
            except PushError:
                continue


def test_what_was_not_delivered_is_kept(answers, tmp_path):
    kept = 0
    with FaultServer(Mutating(answers, "kept")) as server:
        for number in range(MUTATIONS * 4):
            outbox = Outbox(tmp_path / str(number))
            gateway = Gateway(server.url, outbox=outbox, retries=0, timeout=2)
            raised = None
            try:
                gateway.push("j", METRICS)
            except pushgate.DeliveryError as error:
                raised = error
            waits = raised is not None and not raised.permanent
            assert raised is None or raised.kept is waits
            assert [group.labels for group in outbox.waiting()] == [{"job": "j"}] * waits
            kept += waits
            outbox.flush(gateway)
    assert kept


# Faults inside.


class Hungry(socket.socket):
    """A socket for whose data there is no memory."""

    def recv(self, *_):
        raise MemoryError


def test_a_lack_of_memory_is_an_unreachable_gateway_and_kept(tmp_path, monkeypatch):
    outbox = Outbox(tmp_path / "outbox")
    with EmbeddedGateway() as embedded:
        gateway = Gateway(embedded.url, outbox=outbox, retries=0)
        monkeypatch.setattr(socket, "socket", Hungry)
        with pytest.raises(GatewayUnreachableError, match="MemoryError") as caught:
            gateway.push("j", METRICS)
        for call in (gateway.groups, gateway.status, gateway.scrape, gateway.clock):
            with pytest.raises(PushError):
                call()
        assert gateway.ready() is False
    assert caught.value.kept
    assert [group.labels for group in outbox.waiting()] == [{"job": "j"}]
