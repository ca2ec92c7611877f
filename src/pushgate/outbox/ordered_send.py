"""What a push does with the outbox: it is stored if it fails, and sent after what waits."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..errors import DeliveryError, PushError, is_delivery_failure, is_permanent
from .entry import EMPTIED, StoredChange, change_of, fingerprints
from .failure_texts import describe, mark_kept, waiting_error
from .record import Record, file_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..protocol.grouping_key import GroupingKey
    from ..transport.deadline import Deadline
    from .folder import Folder
    from .push import Push

_LONGEST_WAIT = 2.0  # seconds, for another process that delivers; half of the push's time at most


def something_waits(folder: Folder, push: Push) -> bool:
    """Whether something may wait for the push's group."""
    stem = file_stem(push.gateway.url, push.key.labels)
    return bool(folder.attempt(lambda: folder.names(stem)))


def send_in_order(folder: Folder, push: Push, deadline: Deadline) -> None:
    """Send a push so that nothing that waits for its group is delivered over it.

    It is written down before. Raises what kept it from arriving, as Outbox.send does.
    """
    left = deadline.left()
    wait = _LONGEST_WAIT if left is None else min(_LONGEST_WAIT, left / 2)
    url, group = push.gateway.url, push.key.labels
    try:
        with ExitStack() as stack:
            why = ""
            try:
                stack.enter_context(folder.locked(url, wait=wait))
            except DeliveryError as busy:
                why = str(busy)
            except OSError as error:
                why = f"what waits in the outbox can't be locked: {error.strerror}"
            began = time.time()
            if not why:
                _send_locked(folder, push, began, deadline)
            elif _store(folder, push, began, None):
                raise waiting_error(why, url, method=push.method, group=group)
            else:
                push.send(deadline)
    finally:
        folder.attempt(lambda: folder.merge(url, file_stem(url, group)))


def _send_locked(folder: Folder, push: Push, began: float, deadline: Deadline) -> None:
    try:
        change = push.change(began)
    except PushError:  # it can't wait as text
        change = None
    written: list[str] = []
    if change is not None and something_waits(folder, push):
        record = _record(push.gateway.url, push.key.labels, change)
        if change.is_heartbeat:  # the group may be there without metrics after it
            record = record.expecting([EMPTIED])
        written = folder.attempt(lambda: [folder.add(record)]) or []
    try:
        push.send(deadline)
    except Exception as error:
        if store_failed(folder, push, began, error) or not _may_arrive_later(error):
            folder.attempt(lambda: folder.remove(written))
        raise
    if change is not None and not change.is_heartbeat:
        folder.attempt(lambda: _settle(folder, push, change))


def _settle(folder: Folder, push: Push, change: StoredChange) -> None:
    """The gateway has taken ``change``: only what that does not replace waits on."""
    for record, names in folder.load(file_stem(push.gateway.url, push.key.labels)):
        folder.replace(names, record.delivered(change, time.time()))


def store_all(
    folder: Folder,
    url: str,
    changes: Iterable[tuple[str, GroupingKey, bytes, float]],
    unanswered: Iterable[tuple[str, GroupingKey, bytes]],
) -> bool:
    """Whether all of it is on disk now; see Outbox.keep."""

    def records() -> Iterator[Record]:
        for method, key, text, at in changes:
            change = change_of(method, text, at, key.labels)
            if not change.is_heartbeat:
                yield _record(url, key.labels, change)
        for method, key, text in unanswered:
            record = Record(url, key.labels, time.time())
            if folder.names(record.stem):
                sent = change_of(method, text, 0.0, key.labels)
                yield record.expecting(fingerprints(method, sent.families))

    return _stored(folder, url, records()) is not None


def store_failed(folder: Folder, push: Push, began: float, error: Exception) -> bool:
    """Store a push that failed with ``error``, on which is noted whether it waits now."""
    if not _may_arrive_later(error):
        return False
    is_kept = _store(folder, push, began, describe(error))
    mark_kept(error, kept=is_kept)
    return is_kept


def _may_arrive_later(error: Exception) -> bool:
    return is_delivery_failure(error) and not is_permanent(error)


def _store(folder: Folder, push: Push, began: float, failure: str | None) -> bool:
    """Whether it waits now."""

    def records() -> Iterator[Record]:
        change = push.change(began)
        if not change.is_heartbeat:
            record = _record(push.gateway.url, push.key.labels, change)
            yield record if failure is None else record.failed(failure)

    return bool(_stored(folder, push.gateway.url, records()))


def _stored(folder: Folder, url: str, records: Iterator[Record]) -> set[str] | None:
    """The groups of what is on disk now; None where not all of it is, which is logged."""

    def work() -> set[str]:
        stems = set()
        for record in records:
            folder.add(record)
            stems.add(record.stem)
        if stems:
            folder.sync()
        return stems

    stems = folder.attempt(work, is_lost=True)
    for stem in stems or ():
        folder.attempt(partial(folder.merge, url, stem))
    return stems


def _record(url: str, labels: Mapping[str, str], change: StoredChange) -> Record:
    now = time.time()
    return Record(url, labels, min(change.at, now)).stored(change, now)
