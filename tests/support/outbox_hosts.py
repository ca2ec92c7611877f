"""Two hosts with an outbox each, and somebody who just pushes: who has the last word?

In: a gateway. Out: what each group ends as when the hosts deliver what waited, and what it should.
The changes of one group are at least NEWER seconds apart, as other hosts' pushes are compared by
time and a clock can't be read more exactly through HTTP's Date.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import NamedTuple

from support import outbox_families, outbox_model, outbox_valve
from support.gateways import GatewayUnderTest
from support.outbox_model import Change, Families
from support.outbox_workers import Nursery

NEWER = 0.06
TIMEOUT = 5.0  # seconds
FLUSH = 30.0  # seconds; looking at the gateway's clock takes some

HOSTS = ("host A", "host B")
ANYBODY = "anybody"


class Event(NamedTuple):
    """A change by one of HOSTS, which has an outage, or by ANYBODY, who has none."""

    actor: str
    change: Change


class Difference(NamedTuple):
    group: str
    events: list[Event]
    family: str
    holds: float | None
    should: float


class Story:
    """What happens to many groups at once: their first changes, then their second ones, and so
    on; then the outages end."""

    def __init__(self, seed: int, groups: int) -> None:
        chance = random.Random(seed)
        self._number = 0
        self.chance = chance
        self.events: dict[str, list[Event]] = {}
        for number in range(groups):
            # When both have something of a group, the one that delivers last is the newest to a
            # gateway; but for outcomes of jobs, which tell when they were.
            actors, is_shared = (HOSTS[number % 2], ANYBODY), number % 4 == 0
            self.events[f"group-{number}"] = [
                self._event(chance, HOSTS if is_shared else actors, is_shared)
                for _ in range(chance.randint(2, 5))
            ]

    def _event(self, chance: random.Random, actors: tuple[str, ...], is_shared: bool) -> Event:
        actor = chance.choice(actors)
        method = chance.choices(("POST", "PUT", "DELETE"), (6, 3, 1))[0]
        names = chance.sample(("rows", "parts", "sizes"), chance.randint(1, 3))
        if is_shared or chance.random() < 0.3:
            method = "POST" if is_shared else method
            names = [*outbox_families.OUTCOME, outbox_families.SUCCESS]
        self._number += 1
        families = () if method == "DELETE" else ((name, float(self._number)) for name in names)
        return Event(actor, Change(method, frozenset(families)))

    def play(self, gateway: GatewayUnderTest, folder: Path) -> list[Difference]:
        """Where a family is not what it should be. Raises AssertionError where one can't flush."""
        port = int(gateway.url.rpartition(":")[2])
        with Nursery() as nursery, outbox_valve.valve(port) as valve:
            hosts = {name: nursery.worker() for name in HOSTS}
            for name, host in hosts.items():
                path = str(folder / name / "outbox.sqlite3")
                host.ask({"do": "open", "url": valve.url, "path": path, "timeout": TIMEOUT})
            valve.mode = outbox_valve.RESET
            for turn in range(max(map(len, self.events.values()))):
                for group, events in self.events.items():
                    if turn >= len(events):
                        continue
                    actor, change = events[turn]
                    if actor == ANYBODY:
                        _push(gateway, group, change)
                    else:
                        answer = hosts[actor].ask(_order(group, change))
                        assert answer["told"] == "kept", answer
                time.sleep(NEWER)
            valve.mode = outbox_valve.OPEN
            for name in self.chance.sample(HOSTS, 2):
                done = hosts[name].ask({"do": "flush", "timeout": FLUSH})
                assert done["left"] == 0, done
            for host in hosts.values():
                host.close()
        return list(self._differences(_held(gateway)))

    def _differences(self, held: dict[str, Families]) -> list[Difference]:
        found = []
        for group, events in self.events.items():
            has = dict(held.get(group) or ())
            ideal: Families | None = None
            for _, change in events:
                ideal = outbox_model.applied(ideal, change)
            for name, should in ideal or ():
                holds = has.get(name)
                if holds != should and not (holds is None and _may_be_left_out(events, should)):
                    found.append(Difference(group, events, name, holds, should))
        return found


def _may_be_left_out(events: list[Event], number: float) -> bool:
    """Whether it is of a host's entry that holds a PUT or DELETE: where all that the group holds is
    newer than that, the whole group counts as replaced."""
    actor = next(actor for actor, change in events if number in dict(change.families).values())
    mine = [change.method for other, change in events if other == actor]
    return actor != ANYBODY and mine != ["POST"] * len(mine)


def _order(group: str, change: Change) -> dict[str, object]:
    families = sorted(change.families)
    return {"do": "change", "method": change.method, "job": group, "families": families}


def _push(gateway: GatewayUnderTest, group: str, change: Change) -> None:
    from pushgate import encode

    body = encode(outbox_families.families(sorted(change.families))).text
    answer = gateway.exchange(change.method, f"/metrics/job/{group}", body)
    assert answer.status < 300, answer


def _held(gateway: GatewayUnderTest) -> dict[str, Families]:
    return {
        entry["labels"]["job"]: frozenset(
            (name, outbox_families.number_of(name, shown))
            for name, shown in entry.items()
            if name in outbox_families.NAMES
        )
        for entry in gateway.groups()
    }
