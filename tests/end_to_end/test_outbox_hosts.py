"""A replay never overwrites a newer push: two hosts with an outbox each, others in between, and
gateways whose clocks are right, a little off, and quite wrong."""

import random
import time

import pytest

from pushgate import Gateway, GroupingKey, Outbox, encode
from pushgate.embedded import EmbeddedGateway
from support import outbox_families, outbox_model
from support.outbox_model import Change

pytestmark = pytest.mark.end_to_end

GROUPS, MOST_EVENTS = 60, 5
STEP = 3.0  # seconds between the changes of one group: clocks are compared to a second
HOSTS = ("host A", "host B")
ANYBODY = "anybody"


def events(chance, group):
    """Who changes what, one after the other: HOSTS have an outage, ANYBODY has none."""
    # When both hosts have something of a group, the one that delivers last is the newest to a
    # gateway; but for outcomes of jobs, which tell when they were.
    is_shared = group % 4 == 0
    actors = HOSTS if is_shared else (HOSTS[group % 2], ANYBODY)
    for number in range(chance.randint(2, MOST_EVENTS)):
        names = chance.sample(("rows", "parts", "sizes"), chance.randint(1, 3))
        method = chance.choices(("POST", "PUT", "DELETE"), (6, 3, 1))[0]
        if is_shared or chance.random() < 0.3:
            method = "POST" if is_shared else method
            names = [*outbox_families.OUTCOME, outbox_families.SUCCESS]
        families = () if method == "DELETE" else ((name, 10.0 * group + number) for name in names)
        yield chance.choice(actors), Change(method, frozenset(families))


def may_be_left_out(events, number):
    """Whether it is of a host's entry that holds a PUT or DELETE: where all that the group holds is
    newer than that, the whole group counts as replaced."""
    actor = next(actor for actor, change in events if number in dict(change.families).values())
    return actor != ANYBODY and any(c.method != "POST" for who, c in events if who == actor)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("skew", [0.0, -3600.3, 0.45, 86400.7])
def test_of_hosts_that_deliver_late_the_newest_push_of_each_family_stays(tmp_path, skew, seed):
    chance = random.Random(f"{skew} {seed}")
    told = {f"group-{group}": list(events(chance, group)) for group in range(GROUPS)}
    outboxes = {host: Outbox(tmp_path / host) for host in HOSTS}
    past = -STEP * (MOST_EVENTS + 1)  # seconds
    with EmbeddedGateway(clock=lambda: time.time() + past + skew) as server:
        gateway = Gateway(server.url, retries=0)
        for turn in range(MOST_EVENTS):
            past += STEP
            for group, story in told.items():
                if turn >= len(story):
                    continue
                actor, change = story[turn]
                body = encode(outbox_families.families(sorted(change.families))).text
                if actor == ANYBODY:
                    gateway.send(change.method, GroupingKey(group), body)
                else:
                    at = time.time() + past
                    request = (change.method, GroupingKey(group), body, at)
                    assert outboxes[actor].keep(gateway.url, [request])
        past = 0.0
        for host in chance.sample(HOSTS, 2):
            flushed = outboxes[host].flush(gateway)
            assert (flushed.left, flushed.error) == (0, None)
        held = {g.labels["job"]: {f.name: f for f in g.families} for g in gateway.groups()}
    for group, story in told.items():
        ideal = None
        for _, change in story:
            ideal = outbox_model.applied(ideal, change)
        for name, number in ideal or ():
            family = held.get(group, {}).get(name)
            expected = outbox_families.family(name, number).samples[0].value
            if family is None:
                assert may_be_left_out(story, number), f"{group} lacks {name}: {story}"
            else:
                assert family.samples[0].value == expected, f"{group} {name}: {story}"
