"""Pushes from signal handlers. The module imports nothing of pushgate: its processes are fresh."""

import pytest

from support.fresh_process import in_fresh_process


def push_with_a_signal(url, module):
    import os
    import signal
    import sys

    import pushgate

    pushed = []

    def push(*_):
        sys.setprofile(None)
        pushgate.Gateway(url, retries=0).push("handler", [pushgate.gauge("x", "", 1)])
        pushed.append(True)

    def profile(frame, event, argument):
        if event == "call" and frame.f_globals.get("__name__") == f"pushgate.{module}":
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, push)
    sys.setprofile(profile)
    pushgate.push_to_gateway(url, "first", pushgate.gauge("x", "", 1))
    sys.setprofile(None)
    assert pushed


@pytest.mark.parametrize(
    "module", ["gateway.functions", "errors", "protocol.grouping_key", "transport.handler"]
)
def test_a_signal_handler_may_push_while_the_first_push_imports(module):
    from pushgate import Gateway
    from pushgate.embedded import EmbeddedGateway

    with EmbeddedGateway() as server:
        in_fresh_process(push_with_a_signal, server.url, module)
        jobs = {group.labels["job"] for group in Gateway(server.url).groups()}
    assert jobs == {"handler", "first"}
