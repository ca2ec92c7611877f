"""One push through the outbox: stored if it fails, and sent in order with what waits."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from ..errors import PushError, is_delivery_failure, is_permanent
from .entry import EMPTIED, StoredChange, change_of, fingerprints
from .failure_texts import describe, mark_kept, waiting_error
from .record import Record, file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..protocol.grouping_key import GroupingKey
    from ..transport.deadline import Deadline
    from .folder import DeliveryLock, Folder
    from .push import Push

__all__ = ("send_in_order", "store_all", "store_failed")

_LONGEST_WAIT = 2.0  # seconds, for another process that delivers; half of the push's time at most


def send_in_order(folder: Folder, push: Push, deadline: Deadline) -> None:
    """Send a push so that nothing that waits for its group is delivered over it.

    It is written down before. Raises what kept it from arriving, as Outbox.send does.
    """
    url, labels = push.gateway.url, push.key.labels
    if not folder.has(file_name(url, labels)):
        began = time.time()
        try:
            push.send(deadline)
        except Exception as error:
            store_failed(folder, push, began, error)
            raise
        return
    lock, why = _delivering(folder, url, deadline)
    with lock or nullcontext():
        began = time.time()
        if lock is None and _store(folder, push, began, None):
            raise waiting_error(why, url, method=push.method, group=labels)
        change = _written_down(folder, push, began)
        try:
            push.send(deadline)
        except Exception as error:
            if is_permanent(error) or not is_delivery_failure(error):
                _give_up(folder, push, change)
            store_failed(folder, push, began, error)
            raise
        if change is not None:
            _update(folder, url, labels, lambda record: record.delivered(change, time.time()))


def _delivering(folder: Folder, url: str, deadline: Deadline) -> tuple[DeliveryLock | None, str]:
    """The lock; or None, and why."""
    left = deadline.left()
    wait = _LONGEST_WAIT if left is None else min(_LONGEST_WAIT, left / 2)
    try:
        lock = folder.delivering(url, wait=wait)
    except OSError as error:
        return None, f"what waits in the outbox can't be locked: {error.strerror}"
    return lock, "another process of this host is delivering what waits in the outbox"


def _written_down(folder: Folder, push: Push, began: float) -> StoredChange | None:
    """None for a push that can't be written as text."""
    try:
        change = push.change(began)
    except PushError:
        return None

    def written(record: Record) -> Record:
        record = record.recovered(began)
        if change.is_heartbeat:  # the group may be there without metrics after it
            return record.expecting([EMPTIED])
        return record._replace(ahead=change)

    _update(folder, push.gateway.url, push.key.labels, written)
    return change


def _give_up(folder: Folder, push: Push, change: StoredChange | None) -> None:
    if change is not None:
        url, labels = push.gateway.url, push.key.labels
        _update(folder, url, labels, lambda record: record.given_up(change))


def _update(
    folder: Folder, url: str, labels: Mapping[str, str], work: Callable[[Record], Record]
) -> None:
    """Change what waits for the group, if something does."""
    name = file_name(url, labels)
    folder.attempt(lambda: folder.update(name, lambda r: r and work(r), create=False))


def store_all(
    folder: Folder,
    url: str,
    changes: Iterable[tuple[str, GroupingKey, bytes, float]],
    unanswered: Iterable[tuple[str, GroupingKey, bytes]],
) -> bool:
    """Whether all of it is on disk now; see Outbox.keep."""

    def work() -> bool:
        is_changed = False
        for method, key, text, at in changes:
            change = change_of(method, text, at, key.labels)
            is_changed |= _put(folder, url, key.labels, change, None)
        for method, key, text in unanswered:
            sent = change_of(method, text, 0.0, key.labels)
            found = tuple(fingerprints(method, sent.families))
            _update(folder, url, key.labels, partial(Record.expecting, sent=found))
        if is_changed:
            folder.sync()
        return True

    return folder.attempt(work, is_lost=True) or False


def store_failed(folder: Folder, push: Push, began: float, error: Exception) -> None:
    """Store a push that failed with ``error``, on which is noted whether it waits now."""
    if is_delivery_failure(error) and not is_permanent(error):
        mark_kept(error, kept=_store(folder, push, began, describe(error)))


def _store(folder: Folder, push: Push, began: float, failure: str | None) -> bool:
    """Whether it waits now."""

    def work() -> bool:
        is_put = _put(folder, push.gateway.url, push.key.labels, push.change(began), failure)
        if is_put:
            folder.sync()
        return is_put

    return folder.attempt(work, is_lost=True) or False


def _put(
    folder: Folder, url: str, labels: Mapping[str, str], change: StoredChange, failure: str | None
) -> bool:
    """Whether there is anything to store. Raises OSError."""
    if change.is_heartbeat:
        return False

    def stored(record: Record | None) -> Record:
        now = time.time()
        record = record or Record(url, labels, min(change.at, now))
        record = record.given_up(change).stored(change, now)
        return record if failure is None else record.failed(failure)

    folder.update(file_name(url, labels), stored)
    return True
