"""What waits meets what a real gateway holds: restarts, other people's pushes, other clocks."""

import time

import pytest
from prometheus_client import Counter

from pushgate import (
    Gateway,
    GatewayUnreachableError,
    GroupingKey,
    Outbox,
    gauge,
)
from support import debian, servers

KEY = GroupingKey("a")


@pytest.fixture(params=["pushgateway-1.5.1", "pushgateway-1.11"])
def server(request, tmp_path):
    binary = debian.require(request.param)
    flags = (f"--persistence.file={tmp_path / 'held'}", "--persistence.interval=10ms")
    with servers.pushgateway(binary, *flags) as gateway:
        yield gateway


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox")


def gateway_of(url, outbox=None):
    return Gateway(url, outbox=outbox, retries=0, timeout=5)


def values(url, job="a"):
    groups = Gateway(url).groups()
    return {
        f.name: f.samples[0].value for g in groups if g.labels["job"] == job for f in g.families
    }


def keep(outbox, url, at, **families):
    text = b"".join(
        b"# TYPE %s gauge\n%s %d\n" % (n.encode(), n.encode(), v) for n, v in families.items()
    )
    assert outbox.keep(url, [("POST", KEY, text, at)])


@pytest.mark.end_to_end
def test_a_gateway_that_was_killed_gets_what_it_missed_and_keeps_what_is_newer(server, outbox):
    ours, others = gateway_of(server.url, outbox), gateway_of(server.url)
    ours.push("a", [gauge("x", "", 1), gauge("y", "", 1), gauge("z", "", 1)])
    server.kill()
    for push in (
        lambda: ours.pushadd("a", [gauge("x", "", 2)]),
        lambda: ours.push("b", [gauge("x", "", 2)]),
        lambda: ours.delete("c"),
    ):
        with pytest.raises(GatewayUnreachableError) as caught:
            push()
        assert caught.value.kept
    keep(outbox, server.url, time.time() - 5, y=2)
    server.restart()
    others.pushadd("a", [gauge("y", "", 3)])

    flushed = outbox.flush(ours)

    assert (flushed.left, flushed.error, len(flushed.dropped)) == (0, None, 1)
    assert values(server.url)["y"] == 3
    assert values(server.url)["x"] == 2
    assert values(server.url, "b") == {"x": 2}


@pytest.mark.end_to_end
def test_exemplars_and_dotted_names_wait_as_well(outbox):
    counter = Counter("rows", "Rows.", registry=None)
    counter.inc(2, {"trace_id": "x"})
    flags = ("--push.enable-utf8-names",)
    with servers.pushgateway(debian.require("pushgateway-1.11"), *flags) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0, utf8_names=True)
        gateway.pushadd("warm", [counter])  # it has learned what the gateway knows
        server.kill()
        for push in (
            lambda: gateway.push("a", [counter], {"dotted.name": "v"}),
            lambda: gateway.pushadd("a", [gauge("my.metric", "", 1)], {"dotted.name": "v"}),
        ):
            with pytest.raises(GatewayUnreachableError) as caught:
                push()
            assert caught.value.kept
        server.restart()
        assert outbox.flush(gateway).delivered == 1
        (group,) = gateway.groups()
    assert group.labels == {"job": "a", "dotted.name": "v"}
    assert (group.value("my.metric"), group.value("rows_total")) == (1, 2)
