"""What waits for a gateway and how it is put together, by the relay that needs no process."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushgate import (
    Gateway,
    GatewayRejectedError,
    InlineRelay,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.relay.records import Dropped, dropped_line, record_line, records_of
from support import faults
from support.faults import FaultServer, answer

LEDGER, ECHO = "support.relays:Ledger", "support.relays:Echo"


class Handler:
    """A gateway's handler that is down until it is told otherwise, and keeps what was sent."""

    def __init__(self):
        self.is_down = True
        self.sent = []

    def __call__(self, *, url, method, timeout, headers, data):
        def send():
            if self.is_down:
                raise ConnectionRefusedError("down")
            self.sent.append((method, url.rpartition("/")[2], values_in(data)))

        return send


def values_in(body):
    lines = (line.split() for line in body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def held(url):
    return {
        group.labels["job"]: {f.name: f.samples[0].value for f in group.families}
        for group in Gateway(url).groups()
    }


def after(requests, before):
    """What a gateway holds of a group after these requests; None where there is no group."""
    for method, _, values in requests:
        if method == "DELETE":
            before = None
        else:
            before = values if method == "PUT" else {**(before or {}), **values}
    return before


class Float(float):
    """As numpy's."""


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.lists(PLAIN | st.just("\ud800")))
def test_records_survive_the_pipe(records):
    records = [*records, [Float(2.5), "é"]]
    data = b"".join(map(record_line, records)) + dropped_line(70_000)
    read = list(records_of(data))
    assert read == [*records, 70_000]
    assert isinstance(read[-1], Dropped)


VALUES = st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=3)
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["PUT", "POST"]), st.just("a"), VALUES),
    st.tuples(st.sampled_from(["PUT", "POST"]), st.just("a"), VALUES, st.just("live")),
    st.just(("DELETE", "a", {})),
)


@given(st.lists(CHANGES, min_size=1, max_size=6), st.sampled_from([None, {}, {"x": 7.0, "w": 5.0}]))
def test_one_request_leaves_the_group_as_all_changes_of_an_outage_would(changes, before):
    handler = Handler()
    relay = InlineRelay(ECHO, gateway=Gateway("h", handler=handler))
    for change in changes:
        assert relay.write(change)
    handler.is_down = False
    assert relay.close(0.0)
    assert len(handler.sent) == 1
    assert after(handler.sent, before) == after([change[:3] for change in changes], before)


def test_what_waits_does_not_grow_with_an_outage_and_one_line_tells_of_it(caplog):
    handler = Handler()
    relay = InlineRelay(ECHO, gateway=Gateway("h", handler=handler))
    for number in range(100):
        assert relay.write(["PUT", "ab"[number % 2], {"x": number}])
    assert not relay.flush()
    handler.is_down = False
    assert relay.close(0.0)
    assert sorted(handler.sent) == [("PUT", "a", {"x": 98}), ("PUT", "b", {"x": 99})]
    assert [r for r in caplog.messages if "takes nothing now, pushes wait" in r] == [
        "the gateway http://h takes nothing now, pushes wait: down"
    ]


def test_what_a_record_changes_is_pushed_before_write_returns():
    with EmbeddedGateway() as gateway:
        relay = InlineRelay(LEDGER, gateway=Gateway(gateway.url))
        for n in range(3):
            assert relay.write(("g", n))
            assert held(gateway.url)["g"]["records"] == n + 1
        assert not relay.write(object())
        assert relay.close(0.0)
        assert not relay.write(("g", 4))
        assert held(gateway.url)["g"]["records"] == 3
        assert held(gateway.url)["drops"] == {"dropped": 1}


def test_mistakes_and_resets_raise_nothing_and_all_is_delivered_later(caplog):
    with FaultServer(faults.reset, faults.accept) as server:
        gateway = Gateway(server.url, retries=0)
        relay = InlineRelay(LEDGER, gateway=gateway, options={"raise_on": 2})
        assert relay.write(["g", 1])
        assert relay.write(["g", 2])
        assert not relay.flush()
        assert relay.close(0.0)
        assert [f"{seen.method} {seen.target}" for seen in server.requests][1:] == [
            "PUT /metrics/job/g",
            "POST /metrics/job/closed",
        ]
    assert "the ledger refuses 2" in caplog.text
    assert {record.levelno for record in caplog.records} <= {logging.WARNING, logging.INFO}


def test_a_group_that_is_refused_or_can_not_be_encoded_stops_no_other(caplog):
    with FaultServer(faults.respond(answer("400 Bad Request"), faults.OK)) as server:
        relay = InlineRelay(ECHO, gateway=Gateway(server.url, retries=0))
        assert relay.write(["PUT", "refused", {"x": 1}])
        assert relay.write(["PUT", "unfit", {"push_time_seconds": 1}])
        assert relay.write(["PUT", "good", {"x": 1}])
        assert relay.close(0.0)
        assert [seen.target.rpartition("/")[2] for seen in server.requests] == ["refused", "good"]
    assert caplog.text.count("was given up") == 2


@pytest.mark.parametrize("status", [401, 503])
def test_an_answer_that_may_pass_keeps_what_waits(status, caplog):
    def refuse(**_request):
        from email.message import Message

        if not refused:
            refused.append(1)
            raise GatewayRejectedError(
                status=status, reason="no", method="PUT", url="http://h/a", headers=Message()
            )
        return lambda: None

    refused = []
    relay = InlineRelay(ECHO, gateway=Gateway("h", handler=refuse, retries=0))
    relay.write(["PUT", "a", {"x": 1}])
    assert relay.flush() == (status == 401)
    assert relay.close(0.0)
    assert ("was given up" in caplog.text) == (status == 401)
