"""A replay never overwrites a newer push: two hosts with an outbox each, others in between, and
gateways whose clocks are right, a little off, and quite wrong."""

import time

import pytest

from pushgate.embedded import EmbeddedGateway
from support.gateways import EMBEDDED, NEW, GatewayUnderTest, open_gateway
from support.outbox_hosts import Story

pytestmark = pytest.mark.end_to_end


def play(gateway, folder, seed):
    story = Story(seed, groups=40)
    differences = story.play(gateway, folder)
    assert not differences, "\n".join(map(str, differences))


def test_of_hosts_that_deliver_late_the_newest_push_of_each_family_stays(tmp_path):
    with open_gateway(NEW) as gateway:
        for seed in range(2):
            gateway.wipe()
            play(gateway, tmp_path / f"{seed}", seed)


@pytest.mark.parametrize("skew", [-3600.3, 0.45, 86400.7])
def test_a_gateway_whose_clock_is_wrong_changes_nothing(tmp_path, skew):
    with EmbeddedGateway(clock=lambda: time.time() + skew) as embedded:
        play(GatewayUnderTest(EMBEDDED, embedded.url), tmp_path, seed=int(skew))
