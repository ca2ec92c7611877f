"""The relay's pure parts: what waits for a group, whose turn it is, and what an end means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushgate import (
    Change,
    Family,
    GatewayDisconnectedError,
    GatewayRejectedError,
    Group,
    GroupingKey,
    gauge,
)
from pushgate.relay._changes import Method
from pushgate.relay._deliveries import Deliveries, Moment, Parcel
from pushgate.relay._pending import Pending, Waiting, combine, waiting_of
from pushgate.relay._said import Said
from pushgate.relay._schedule import Backoff, Restarts, Schedule

A, B, C = (GroupingKey(name) for name in "abc")


def family(name: str, value: float) -> Family:
    return gauge(name, "", value)


def put(*families: Family) -> Change:
    return Change("PUT", A, families)


def post(*families: Family) -> Change:
    return Change("POST", A, families)


DELETE = Change("DELETE", A)
X1, X2, Y1, Z1 = family("x", 1), family("x", 2), family("y", 1), family("z", 1)


# What waits for one group.

Content = dict[str, float] | None  # of a group; None where there is none


def sent(waiting: Waiting, before: Content) -> Content:
    """What a gateway holds after the request, by the names of its families."""
    if not waiting.method:
        return before
    if waiting.method == "DELETE":
        return None
    return held(waiting.method, waiting.payload(A), before)


def held(method: str, body: bytes, before: Content) -> Content:
    """The same of a request's parts."""
    if method == "DELETE":
        return None
    new = values(body)
    return new if method == "PUT" else {**(before or {}), **new}


def values(body: bytes) -> dict[str, float]:
    lines = (line.split() for line in body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


FAMILIES = st.lists(
    st.builds(family, st.sampled_from("xyz"), st.integers(0, 9)),
    max_size=3,
    unique_by=lambda family: family.name,
)


class Collects:
    def __init__(self, *families: Family) -> None:
        self.families = families

    def collect(self) -> Iterable[Family]:
        return self.families


COLLECTORS = (Collects(), Collects(X1), Collects(X2, Y1))
CHANGES = st.one_of(
    st.builds(lambda families: put(*families), FAMILIES),
    st.builds(lambda families: post(*families), FAMILIES),
    st.builds(Change, st.sampled_from(["PUT", "POST"]), st.just(A), st.sampled_from(COLLECTORS)),
    st.just(DELETE),
)


@given(st.lists(CHANGES, max_size=5), st.sampled_from([None, {}, {"x": 77.0, "w": 5.0}]))
def test_one_request_leaves_the_group_as_all_its_changes_would(
    changes: list[Change], before: Content
) -> None:
    one_by_one, pending = before, Pending()
    for made_at, change in enumerate(changes):
        one_by_one = sent(waiting_of(change), one_by_one)
        pending.add(change, made_at=float(made_at))
    waiting = pending.take(A, 0.0) or Waiting("")
    assert sent(waiting, before) == one_by_one

    in_parts, times = before, []
    for method, _, body, at in waiting.changes(A, latest=9.0):
        in_parts = held(method, body, in_parts)
        times.append(at)
    # A heartbeat makes an empty group, and is not worth keeping.
    assert in_parts == one_by_one or (in_parts, one_by_one) == (None, {})
    assert times == sorted(set(times))


LATER = Waiting("", delete_at=50.0)


@pytest.mark.parametrize(
    ("first", "second", "method", "delete_at"),
    [
        pytest.param(waiting_of(post(X1)), LATER, "POST", 50.0, id="a push goes before its DELETE"),
        pytest.param(waiting_of(put(X1)), LATER, "PUT", 50.0, id="a PUT as well"),
        pytest.param(LATER, waiting_of(post(X1)), "POST", None, id="a later push revokes it"),
        pytest.param(LATER, waiting_of(put(X1)), "PUT", None, id="and so does a PUT"),
        pytest.param(LATER, waiting_of(DELETE), "DELETE", None, id="a DELETE now is enough"),
        pytest.param(LATER, Waiting("", delete_at=9.0), "", 9.0, id="the last time counts"),
        pytest.param(Waiting("", delete_at=9.0), LATER, "", 50.0, id="also if that is later"),
        pytest.param(waiting_of(DELETE), LATER, "DELETE", 50.0, id="one now, and one more later"),
    ],
)
def test_a_delete_that_is_not_due_yet(
    first: Waiting, second: Waiting, method: str, delete_at: float | None
) -> None:
    both = combine(first, second)
    assert (both.method, both.delete_at) == (method, delete_at)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_collector_is_collected_when_it_is_sent_and_again_when_it_is_sent_again(
    method: Method,
) -> None:
    values = iter([1.0, 2.0])

    class Now:
        def collect(self) -> Iterator[Family]:
            yield family("x", next(values))

    pending, change = Pending(), Change(method, A, Now())
    assert [pending.add(change) for _ in range(3)] == [True, False, False]
    waiting = pending.take(A, 0.0)
    assert waiting is not None
    assert waiting.payload(A).endswith(b"x 1.0\n")
    assert waiting.payload(A).endswith(b"x 2.0\n")


def test_a_change_that_was_made_before_revokes_a_delete_as_well() -> None:
    pending, change = Pending(), Change("PUT", A, Collects(X1))
    pending.add(change)
    pending.add(DELETE, 50.0)
    pending.add(change)
    assert pending.delete_at(A) is None


def test_families_that_can_be_read_only_once_can_be_sent_twice() -> None:

    once = waiting_of(Change("PUT", A, iter([X1])))
    assert once.payload(A) == once.payload(A) != b""


def test_a_request_that_failed_goes_under_what_came_since() -> None:
    pending = Pending()
    pending.add(post(X1, Y1))
    taken = pending.take(A, 0.0)
    assert taken is not None
    pending.add(post(X2, Z1))
    pending.add(DELETE, 50.0)

    pending.put_back(A, taken)

    assert pending.delete_at(A) == 50.0
    again = pending.take(A, 0.0)
    assert again is not None
    assert sent(again, None) == {"x": 2, "y": 1, "z": 1}


def test_a_delete_whose_time_has_come_takes_the_place_of_what_waits() -> None:
    pending = Pending()
    pending.add(post(X1))
    pending.add(DELETE, 50.0)
    assert pending.take(A, 50.0) == Waiting("DELETE")
    assert pending.take(A, 99.0) is None


# Whose turn it is.


def taken(schedule: Schedule, now: float) -> list[GroupingKey]:
    keys = []
    while (key := schedule.take(now)) is not None:
        schedule.sent(key, now)
        keys.append(key)
    return keys


def test_a_group_goes_at_once_and_then_once_an_interval() -> None:
    schedule = Schedule(15.0)
    schedule.want(A, 100.0)
    assert taken(schedule, 100.0) == [A]
    for now in (100.0, 101.0, 114.9):
        schedule.want(A, now)
        assert taken(schedule, now) == []
        assert schedule.next_turn() == 115.0
    assert taken(schedule, 115.0) == [A]
    assert schedule.next_turn() is None
    schedule.want(A, 200.0)
    assert taken(schedule, 200.0) == [A]


def test_who_waits_longest_goes_first() -> None:
    schedule = Schedule(15.0)
    for now, key in enumerate((B, A, C, A, B)):
        schedule.want(key, now)
    assert taken(schedule, 9.0) == [B, A, C]


def test_an_earlier_wish_takes_the_place_of_a_later_one() -> None:
    schedule = Schedule(15.0)
    schedule.want(A, 900.0)
    schedule.want(A, 20.0)
    schedule.want(A, 500.0)
    assert taken(schedule, 1000.0) == [A]
    assert schedule.next_turn() is None


def test_what_was_not_sent_need_not_wait_for_the_interval() -> None:
    schedule = Schedule(15.0)
    schedule.sent(A, 0.0)
    schedule.not_sent(A)
    schedule.want(A, 1.0)
    assert schedule.take(1.0) == A


def test_a_schedule_keeps_nothing_of_groups_that_are_over() -> None:
    schedule = Schedule(15.0)
    for number in range(1000):
        key = GroupingKey(f"run-{number}")
        schedule.want(key, 1e9)
        schedule.want(key, number)
        assert taken(schedule, number) == [key]
    assert len(schedule._free_at) <= 16
    assert len(schedule._heap) <= 16


def test_a_gateway_that_is_down_is_asked_after_ever_longer_pauses() -> None:
    backoff = Backoff(15.0)
    pauses = []
    for _ in range(6):
        backoff.failed(0.0, jitter=1.0)
        pauses.append(backoff.until)
    assert pauses == [1, 2, 4, 8, 15, 15]
    assert backoff.answered()
    assert backoff.until < 0
    assert not backoff.answered()
    backoff.failed(0.0, jitter=0.0)
    assert backoff.until == 1
    backoff.failed(0.0, jitter=0.0, asked=30.0)
    assert backoff.until == 30


def test_a_process_that_dies_young_is_replaced_ever_more_seldom() -> None:
    restarts, now, waited = Restarts(), 1000.0, []
    for _ in range(12):
        restarts.started(now)
        restarts.died(now)
        start = now
        while not restarts.may_start(now):
            now += 0.5
        waited.append(now - start)
    assert waited == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    restarts.started(now)
    restarts.died(now + 1000)
    assert restarts.may_start(now + 1000)


# From records to parcels.


class Echo:
    """Changes are its records."""

    review_interval: float | None = None

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def feed(self, record: Any, now: float) -> Iterable[Change]:
        if isinstance(record, Exception):
            raise record
        return [record]

    def dropped(self, count: int) -> Iterable[Change]:
        return [post(family("dropped", count))]

    def closed(self, now: float) -> Iterable[Change]:
        return [Change("POST", C, [X1])]

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> None:
        self.ends.append((key.job, type(error).__name__))

    def review(self, groups: Iterable[Group], now: float) -> Iterable[Change]:
        return groups  # type: ignore[return-value]  # changes as well


class Desk:
    """Deliveries with a clock, and what it said."""

    def __init__(self, interval: float = 15.0, review_interval: float | None = None) -> None:
        self.echo = Echo()
        self.echo.review_interval = review_interval
        self.said: list[str] = []
        self.clock = 0.0
        self.deliveries = Deliveries(
            self.echo, gateway="http://g", interval=interval, said=Said(self.said.append)
        )

    @property
    def now(self) -> Moment:
        return Moment(1e9 + self.clock, self.clock)

    def feed(self, *records: Change | Exception) -> None:
        for record in records:
            self.deliveries.feed(record, self.now)

    def next(self) -> Parcel | None:
        return self.deliveries.next(self.now)

    def end(self, parcel: Parcel | None, error: Exception | None = None) -> None:
        assert parcel is not None
        self.deliveries.settle(parcel, error, self.now)

    def drain(self) -> list[str]:
        """Send everything whose turn it is, with success."""
        requests = []
        while (parcel := self.next()) is not None:
            requests.append(f"{parcel.method} {parcel.key.job}")
            self.end(parcel)
        return requests


def down() -> GatewayDisconnectedError:
    return GatewayDisconnectedError("refused", method="PUT", url="http://g/metrics/job/a")


def rejected(status: int = 400) -> GatewayRejectedError:
    from email.message import Message

    return GatewayRejectedError(
        status=status,
        reason="Bad: no",
        method="PUT",
        url="http://g/metrics/job/a",
        headers=Message(),
    )


def test_an_outage_is_said_once_and_ends_with_what_waited() -> None:
    desk = Desk(interval=1000.0)
    desk.feed(post(X1), Change("POST", B, [X1]))
    for _ in range(5):
        desk.end(desk.next(), down())
        assert desk.next() is None, "a gateway that is down is left alone for a second"
        desk.feed(post(X2))
        desk.clock += 20
    assert desk.deliveries.undelivered == 2
    assert sorted(desk.drain()) == ["POST a", "POST b"]
    assert desk.said == [
        "the gateway http://g takes nothing now, pushes wait: refused",
        "the gateway http://g answers again, groups that wait: 1",
    ]
    assert desk.deliveries.undelivered == 0
    assert [end for _, end in desk.echo.ends] == ["GatewayDisconnectedError"] * 5 + ["NoneType"] * 2


def test_a_server_error_of_one_group_does_not_keep_the_others_from_their_turn() -> None:
    desk = Desk()
    desk.feed(post(X1), Change("POST", B, [X1]))
    parcel = desk.next()
    assert parcel is not None
    assert parcel.key == A
    desk.end(parcel, rejected(503))
    desk.clock += 2
    parcel = desk.next()
    assert parcel is not None
    assert parcel.key == B


def test_what_waits_does_not_grow_with_an_outage() -> None:
    desk = Desk(interval=0.0)
    for number in range(100):
        desk.feed(put(family("x", number)), Change("POST", B, [family("y", number)]))
        if (parcel := desk.next()) is not None:
            desk.end(parcel, down())
        desk.clock += 20
    assert desk.deliveries.undelivered == 2
    assert len(desk.drain()) == 2


def test_a_push_that_is_rejected_is_given_up_and_said_once() -> None:
    desk = Desk()
    for _ in range(3):
        desk.feed(post(X1))
        desk.end(desk.next(), rejected())
        assert desk.next() is None
        desk.clock += 15
    assert desk.said == ['a push for {job="a"} was given up: HTTP Error 400: Bad: no']
    assert desk.echo.ends == [("a", "GatewayRejectedError")] * 3
    desk.feed(post(X1))
    assert desk.drain() == ["POST a"]


def test_metrics_that_cannot_be_pushed_are_given_up_and_others_go() -> None:
    desk = Desk()
    desk.feed(put(X1, X2), Change("POST", B, [X1]))
    assert desk.drain() == ["POST b"]
    assert ("a", "InvalidPayloadError") in desk.echo.ends
    (line,) = desk.said
    assert "sent twice" in line


def test_an_aggregator_that_raises_loses_that_record_only() -> None:
    desk = Desk()
    for number in range(3):
        desk.feed(KeyError("what"), Change("PUT", GroupingKey(f"g{number}"), [X1]))
    assert desk.drain() == ["PUT g0", "PUT g1", "PUT g2"]
    (line,) = desk.said
    assert "KeyError: 'what'" in line
    assert "test_relay_schedule.py" in line


def test_at_the_end_all_goes_at_once_but_deletes_whose_time_has_not_come() -> None:
    desk = Desk()
    desk.feed(post(X1), Change("POST", B, [X1]))
    assert len(desk.drain()) == 2
    desk.feed(post(X2), Change("DELETE", A, not_before=1e9 + 60))
    assert desk.drain() == []

    desk.deliveries.closed(desk.now)

    assert sorted(desk.drain()) == ["POST a", "POST c"]
    assert desk.deliveries.idle


def test_what_was_not_delivered_goes_to_an_outbox_with_the_times_at_which_it_was_made() -> None:
    desk = Desk()
    live = Change("PUT", GroupingKey("d"), Collects(X1))
    desk.feed(post(X1, Y1), Change("DELETE", B))
    desk.next()  # A's is on its way from now on
    desk.clock = 5.0
    desk.feed(post(X2), live)
    desk.clock = 9.0
    desk.deliveries.closed(desk.now)
    desk.clock = 60.0
    for _ in range(2):  # it waits here, too
        assert [
            (key.job, method, values(body), at)
            for method, key, body, at in desk.deliveries.undelivered_changes(desk.now)
        ] == [
            ("b", "DELETE", {}, 1e9),
            ("a", "POST", {"y": 1}, 1e9),
            ("a", "POST", {"x": 2}, 1e9 + 5),
            ("d", "PUT", {"x": 1}, 1e9 + 9),
            ("c", "POST", {"x": 1}, 1e9 + 9),
        ]


def test_a_delete_whose_time_has_come_is_not_for_an_outbox() -> None:
    desk = Desk()
    desk.feed(Change("DELETE", A, not_before=1e9 + 60))
    desk.clock = 70.0
    desk.end(desk.next(), down())
    assert desk.deliveries.undelivered == 1
    assert desk.deliveries.undelivered_changes(desk.now) == []


def test_a_group_is_deleted_when_its_time_has_come() -> None:
    desk = Desk()
    desk.feed(post(X1), Change("DELETE", A, not_before=1e9 + 60))
    assert desk.drain() == ["POST a"]
    assert desk.deliveries.next_turn() == 60
    desk.clock = 60.0
    assert desk.drain() == ["DELETE a"]
    assert desk.deliveries.next_turn() is None


def test_before_a_delete_whose_time_has_come_the_gateway_is_reviewed() -> None:
    desk = Desk(review_interval=300.0)
    desk.deliveries.review([], desk.now)
    desk.feed(Change("DELETE", A, not_before=1e9 + 60), Change("DELETE", B, not_before=1e9 + 60))
    assert not desk.deliveries.wants_review
    desk.clock = 70.0
    assert desk.drain() == []
    assert desk.deliveries.wants_review
    renewed = Change("DELETE", A, not_before=1e9 + 100)
    desk.deliveries.review([renewed], desk.now)  # type: ignore[list-item]
    assert desk.drain() == ["DELETE b"]
    desk.clock = 100.0
    assert desk.drain() == []
    desk.deliveries.go_without_review(desk.now)
    assert desk.drain() == ["DELETE a"]
    assert not desk.deliveries.wants_review
