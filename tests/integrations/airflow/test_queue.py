"""The queue between a scheduler and a gateway: bounded, coalescing, never in the way."""

from __future__ import annotations

import logging
import threading

import pytest

from pushgate_airflow._queue import Item, Left, Queue

PATIENCE = 20.0  # seconds; what takes longer hangs


class Receiver:
    """What the queue delivers to. With the gate closed, the gateway hangs."""

    def __init__(self):
        self.batches = []
        self.answers = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch, last_chance):
        self.batches.append(([item.what for item in batch], last_chance))
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        answer = self.answers.pop(0) if self.answers else Left()
        return answer(batch) if callable(answer) else answer

    def wait(self, count=1):
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)

    @property
    def delivered(self):
        return [what for batch, _ in self.batches for what in batch]


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def queue(receiver):
    queue = Queue(receiver, size=5, patience=PATIENCE)
    yield queue
    receiver.gate.set()
    receiver.answers.clear()
    assert queue.flush(PATIENCE) == 0


def test_while_the_gateway_hangs_the_newest_of_each_slot_waits(queue, receiver):
    receiver.gate.clear()
    queue.put(Item("first", 0))
    receiver.wait()
    for number in range(1000):
        assert queue.put(Item("a", f"a{number}"))
    assert queue.put(Item("b", "b"))
    assert queue.put(Item("a", "newest"))
    receiver.gate.set()
    assert queue.flush(PATIENCE) == 0
    assert receiver.delivered == [0, "b", "newest"]


def test_a_full_queue_drops_and_says_so_once(queue, receiver, caplog):
    receiver.gate.clear()
    queue.put(Item("on its way", 0, weight=2))
    receiver.wait()
    assert queue.put(Item("waits", 1, weight=3))
    with caplog.at_level(logging.WARNING, "pushgate"):
        assert not queue.put(Item("too much", 2, weight=7))
        assert not queue.put(Item("too much", 3))
    assert queue.put(Item("waits", 4, weight=2)), "a slot that is held takes no more room"
    assert queue.put(Item("fits again", 5))
    assert len(caplog.records) == 1
    assert "7 reports are dropped" in caplog.text
    assert "[pushgate] queue_size" in caplog.text


def test_what_is_left_comes_again_unless_something_newer_took_its_place(queue, receiver):
    def comes_back(batch):
        queue.put(Item("a", "newer"))
        return Left(batch, pause=0.001, outage=True)

    receiver.answers = [comes_back]
    receiver.gate.clear()
    queue.put(Item("first", "first"))
    receiver.wait()
    queue.put(Item("a", "older"))
    receiver.gate.set()
    receiver.wait(1)
    assert queue.flush(PATIENCE) == 0
    assert receiver.delivered.count("first") == 2
    assert receiver.delivered.count("newer") == 1
    assert "older" not in receiver.delivered


def test_in_an_outage_all_else_waits_too(queue, receiver):
    receiver.answers = [lambda batch: Left(batch, pause=3600, outage=True)]
    queue.put(Item("a", 1))
    receiver.wait()
    while not queue._blocked_until > 0:
        pass
    queue.put(Item("b", 2))
    assert not receiver.entered.acquire(timeout=0.05)
    assert queue.flush(PATIENCE) == 0
    assert receiver.batches[1:] == [([1, 2], True)]


def test_an_item_waits_until_it_is_due(queue, receiver):
    queue.put(Item("later", "later"), delay=3600)
    queue.put(Item("now", "now"))
    receiver.wait()
    assert receiver.delivered == ["now"]
    assert queue.flush(PATIENCE) == 0
    assert receiver.delivered == ["now", "later"]


def test_a_flush_tries_once_and_says_what_is_lost(queue, receiver, caplog):
    receiver.answers = [lambda batch: Left(batch, pause=3600, outage=True)]
    queue.put(Item("a", 1, weight=3), delay=3600)
    with caplog.at_level(logging.WARNING, "pushgate"):
        queue.stop()
    assert receiver.batches == [([1], True)]
    assert "3 reports are lost: the process ends" in caplog.text


@pytest.fixture
def kept(receiver):
    """What a queue of 4 with an outbox has kept; ``receiver`` is its gateway."""
    return []


@pytest.fixture
def keeping(receiver, kept):
    def keep(items):
        kept.append(sorted(item.what for item in items))
        return True

    queue = Queue(receiver, size=4, patience=PATIENCE, keep=keep)
    yield queue
    receiver.gate.set()
    receiver.answers.clear()
    assert queue.flush(PATIENCE) == 0


def test_what_is_left_at_the_end_is_kept_also_what_is_on_its_way(keeping, receiver, kept, caplog):
    keeping._patience = 0.01
    receiver.gate.clear()  # it hangs
    keeping.put(Item("a", 1, weight=2))
    receiver.wait()
    keeping.put(Item("b", 2))
    with caplog.at_level(logging.WARNING, "pushgate"):
        keeping.stop()
        keeping.stop()  # before_stopping, and the exit of the process
    assert kept == [[1, 2]]
    assert "3 reports wait in the outbox" in caplog.text
    assert "lost" not in caplog.text


def test_in_an_outage_there_is_room_for_what_comes(keeping, receiver, kept):
    receiver.answers = [lambda batch: Left(batch, pause=3600, outage=True)] * 2
    keeping.put(Item("a", 1, weight=2))
    receiver.wait()
    assert keeping.put(Item("b", 2))
    assert kept == [], "half of the room is not too much"
    keeping.flush(PATIENCE)
    assert keeping.put(Item("c", 3, weight=4))
    assert kept == [[1, 2]]


def test_what_can_not_be_kept_waits_on(receiver, caplog):
    def fails(items):
        raise ZeroDivisionError

    receiver.answers = [lambda batch: Left(batch, pause=0.001, outage=True)]
    queue = Queue(receiver, size=1, patience=PATIENCE, keep=fails)
    with caplog.at_level(logging.WARNING, "pushgate"):
        queue.put(Item("a", 1))
        receiver.wait(2)
        assert queue.flush(PATIENCE) == 0
    assert receiver.delivered == [1, 1]
    assert "ZeroDivisionError" in caplog.text


def test_a_flush_waits_no_longer_than_it_may(queue, receiver):
    receiver.gate.clear()
    queue.put(Item("a", 1))
    receiver.wait()
    queue.put(Item("b", 2))
    assert queue.flush(0.01) == 2


def test_a_mistake_in_the_delivery_costs_one_batch(queue, receiver, caplog):
    def fails(batch):
        raise ZeroDivisionError

    receiver.answers = [fails]
    with caplog.at_level(logging.WARNING, "pushgate"):
        queue.put(Item("a", 1))
        receiver.wait()
        queue.put(Item("b", 2))
        assert queue.flush(PATIENCE) == 0
    assert receiver.delivered == [1, 2]
    assert "ZeroDivisionError" in caplog.text


def test_a_forked_child_leaves_its_parents_queue_alone(queue, receiver, monkeypatch):
    queue.put(Item("a", 1), delay=3600)
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: 0)
        child.setattr(queue, "_change", None)  # a lock that its parent's thread held, say
        assert not queue.mine
        assert queue.flush(PATIENCE) == 0
    assert receiver.batches == []
