"""What only a real gateway takes waits as all else does."""

import pytest
from prometheus_client import Counter

from pushgate import Gateway, GatewayUnreachableError, Outbox, gauge
from support import debian, servers


@pytest.mark.end_to_end
def test_exemplars_and_dotted_names_wait_as_well(tmp_path):
    outbox = Outbox(tmp_path / "outbox")
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
