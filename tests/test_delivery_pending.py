"""The table of what waits: whose turn it is, and what an outbox gets of it. Pure."""

from pushgate import GroupingKey, gauge
from pushgate.delivery.pending import Pending
from pushgate.delivery.pending_push import combine, pending_push

KEY = GroupingKey("a")


def table(interval=15.0):
    return Pending(lambda older, newer: f"{older}{newer}", interval=interval)


def taken(pending, now):
    keys = []
    while (entry := pending.take(now)) is not None:
        keys.append(entry[0])
    return keys


def test_a_key_is_due_at_once_and_then_once_an_interval():
    pending = table()
    pending.put("a", "1", 100.0)
    assert pending.take(100.0) == ("a", "1")
    for now in (100.0, 101.0, 114.9):
        pending.put("a", "2", now)
        assert pending.take(now) is None
        assert pending.next_due() == 115.0
    assert pending.take(115.0) == ("a", "222")
    assert (pending.next_due(), len(pending)) == (None, 0)


def test_who_waits_longest_goes_first():
    pending = table()
    for now, key in enumerate("bacab"):
        pending.put(key, "x", now)
    assert taken(pending, 9.0) == ["b", "a", "c"]


def test_an_earlier_time_takes_the_place_of_a_later_one():
    pending = table(0.0)
    for at in (900.0, 20.0, 500.0):
        pending.put("a", "x", at)
    assert pending.next_due() == 20.0
    assert taken(pending, 1000.0) == ["a"]


def test_what_was_not_delivered_goes_under_what_came_since_and_waits_for_no_interval():
    pending = table()
    pending.put("a", "1", 0.0)
    pending.put("b", "1", 0.5)
    key, state = pending.take(0.0)
    pending.put("a", "2", 1.0)
    pending.put_back(key, state, 1.0)
    assert pending.get("a") == "12"
    assert taken(pending, 1.0) == ["b", "a"], "others go before what just failed"


def test_at_the_end_nothing_waits_for_its_time():
    pending = table()
    pending.put("a", "1", 0.0)
    taken(pending, 0.0)
    pending.put("a", "2", 1.0)
    pending.put("b", "1", 99.0)
    pending.hurry(2.0)
    assert sorted(taken(pending, 2.0)) == ["a", "b"]
    pending.put("a", "3", 3.0)
    assert pending.clear() == {"a": "3"}
    assert taken(pending, 99.0) == []


def test_an_outbox_gets_the_parts_of_a_request_with_the_times_at_which_they_were_made():
    x, y = gauge("x", "", 1), gauge("y", "", 1)
    push = combine(pending_push("POST", [x, y], 10.0), pending_push("POST", [x], 15.0))
    assert [
        (m, b"x 1.0" in body, b"y" in body, at) for m, _, body, at in push.changes(KEY, 99)
    ] == [
        ("POST", False, True, 10.0),
        ("POST", True, False, 15.0),
    ]
    deleted = combine(push, pending_push("DELETE", (), 20.0))
    assert [(m, at) for m, _, _, at in deleted.changes(KEY, 99)] == [("DELETE", 20.0)]


def test_a_collector_is_collected_when_it_is_sent_and_an_iterator_can_be_sent_twice():
    class Now:
        values = iter([1.0, 2.0])

        def collect(self):
            return [gauge("x", "", next(self.values))]

    live = pending_push("PUT", Now(), 10.0)
    assert [live.body(KEY)[-6:], live.body(KEY)[-6:]] == [b"x 1.0\n", b"x 2.0\n"]
    once = pending_push("PUT", iter([gauge("x", "", 1)]), 10.0)
    assert once.body(KEY) == once.body(KEY) != b""
