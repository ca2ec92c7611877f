"""Pushes from signal handlers. The module imports nothing of pushgate: its processes are fresh."""

import contextlib
import os
import random
import signal
import sys

import pytest

from support.fresh_process import fork, in_fresh_process, wait_for

STRIKES = int(os.environ.get("PUSHGATE_TEST_STRIKES", "5"))


def first_push(way, url):
    import pushgate

    metrics = pushgate.gauge("x", "", 1)
    if way == "the door for handlers":
        from pushgate import handlers

        pushgate.push_to_gateway(url, "first", metrics, handler=handlers.basic_auth_handler)
    elif way == "the door for functions":
        from pushgate.exposition import push_to_gateway

        push_to_gateway(url, "first", metrics)
    elif way == "Gateway":
        pushgate.Gateway(url, retries=1).push("first", metrics)
    else:
        with contextlib.suppress(pushgate.GatewayRejectedError):
            pushgate.push_to_gateway(f"{url}/nowhere", "first", metrics)


def push_and_strike(way, url, at, report):
    """Push for the first time; at call number ``at``, a handler pushes, too."""
    import pushgate

    calls = 0

    def handle(*_):
        # As fails the push that is interrupted, so that both need the same modules.
        where = f"{url}/nowhere" if way == "a push that fails" else url
        with contextlib.suppress(pushgate.GatewayRejectedError):
            pushgate.Gateway(where, retries=0).push(f"h{at}", pushgate.gauge("x", "", 1))
        os.write(report, b"p")

    def profile(_, event, __):
        nonlocal calls
        calls += event == "call"
        if calls == at:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, handle)
    sys.setprofile(profile)
    first_push(way, url)
    sys.setprofile(None)
    if not at:
        os.write(report, str(calls).encode())
    elif calls < at:
        os.write(report, b"p")  # it had to wait less often: the moment did not come


def strike(way, url, count):
    for_parent, report = os.pipe()

    def run(at):
        wait_for(fork(lambda: push_and_strike(way, url, at, report)))
        return os.read(for_parent, 20)

    calls = int(run(0))
    for at in random.Random(way).sample(range(1, calls), count):
        assert run(at) == b"p"


@pytest.mark.parametrize(
    "way", ["the door for handlers", "the door for functions", "Gateway", "a push that fails"]
)
def test_a_signal_handler_may_push_at_any_moment_of_the_first_push(way):
    from pushgate.embedded import EmbeddedGateway

    with EmbeddedGateway() as server:
        in_fresh_process(strike, way, server.url, STRIKES)
