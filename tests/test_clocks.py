"""The difference of two clocks, found by the whole seconds that one of them names."""

import math
import random

import pytest

from pushgate.gateway.clock import ClockOffset, Sighting


class World:
    """A host's clock, and a gateway that is ``offset`` ahead and takes some time to answer."""

    def __init__(self, offset, seed):
        self.offset, self.random = offset, random.Random(seed)
        self.now = 1e9 + self.random.random()

    def look(self):
        sent = self.now
        there = math.floor(sent + self.random.uniform(0.0002, 0.001) + self.offset)
        self.now += self.random.uniform(0.001, 0.002)
        return Sighting(there, sent, self.now)


@pytest.mark.parametrize("offset", [0.0, 0.25, -3600.123, 86_400.999, -0.0001])
@pytest.mark.parametrize("seed", range(20))
def test_some_twenty_looks_in_two_seconds_find_it_to_some_milliseconds(offset, seed):
    world = World(offset, seed)
    began, known, looks = world.now, ClockOffset.of(world.look()), 1
    while not known.is_best:
        world.now += known.pause(world.now)
        known, looks = known.narrowed(world.look()), looks + 1
        assert known.earliest <= offset <= known.latest
    assert (looks <= 40, world.now - began < 3.2, known.width < 0.008) == (True, True, True)


def test_what_is_later_is_told_only_where_it_is_sure():
    offset = ClockOffset(9.0, 11.0)
    assert offset.is_later(100.0, 112.0) is True
    assert offset.is_later(100.0, 109.0) is False
    assert offset.is_later(100.0, 110.0) is None


def test_after_a_clock_was_set_the_new_difference_counts():
    before = ClockOffset.of(Sighting(100, 100.0, 100.001))
    assert before.narrowed(Sighting(200, 101.0, 101.001)).middle == pytest.approx(99.5, abs=0.01)
