"""What a push does with the outbox: it is stored if it fails, and sent after what waits."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from ..errors import DeliveryError, PushError, may_arrive_later
from .entry import EMPTIED, Entry, entry_of
from .failure_texts import describe, waiting_error
from .record import Record, file_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.grouping_key import GroupingKey
    from ..transport.deadline import Deadline
    from .folder import Folder
    from .push import Push

_LONGEST_WAIT = 2.0  # seconds, for another process that delivers; half of the push's time at most


def something_waits(folder: Folder, push: Push) -> bool:
    """Whether something may wait for the push's group."""
    stem = file_stem(push.gateway.url, push.key.labels)
    return bool(folder.attempt(lambda: folder.names(stem)))


async def send_in_order(folder: Folder, push: Push, deadline: Deadline) -> None:
    """Send a push so that nothing that waits for its group is delivered over it.

    It is written down before. Raises what kept it from arriving, as Outbox.send does.
    """
    left = deadline.left()
    wait = _LONGEST_WAIT if left is None else min(_LONGEST_WAIT, left / 2)
    url, group = push.gateway.url, push.key.labels
    try:
        with ExitStack() as stack:
            why, is_locked = "", True
            try:
                stack.enter_context(folder.locked(url, wait=wait))
            except DeliveryError as busy:
                why = str(busy)
            except OSError:  # such as of a disk without locks, where nobody else delivers either
                is_locked = False
            began = time.time()
            if not why:
                await _send_written(folder, push, began, deadline, is_locked)
            elif _store(folder, push, began, None):
                raise waiting_error(why, url, method=push.method, group=group)
            else:
                await push.send(deadline)
    finally:
        folder.attempt(lambda: folder.merge(url, file_stem(url, group)))


async def _send_written(
    folder: Folder, push: Push, began: float, deadline: Deadline, is_locked: bool
) -> None:
    """Write it down, send it, and where ``is_locked`` take away what that has settled."""
    try:
        entry = push.entry(began)
    except PushError:  # it can't wait as text
        entry = None
    written: list[str] = []
    if entry is not None and something_waits(folder, push):
        record = Record(push.gateway.url, push.key.labels, began, entry)
        if entry.is_empty:  # a heartbeat: the group may be there without metrics after it
            record = record.expecting([EMPTIED])
        written = folder.attempt(lambda: [folder.add(record)]) or []
    try:
        await push.send(deadline)
    except Exception as error:
        is_stored = store_failed(folder, push, began, error)
        if is_locked and (is_stored or not may_arrive_later(error)):
            folder.attempt(lambda: folder.remove(written))
        raise
    if is_locked and entry is not None and not entry.is_empty:
        folder.attempt(lambda: _settle(folder, push, entry))


def _settle(folder: Folder, push: Push, entry: Entry) -> None:
    """The gateway has taken ``entry``: only what that does not replace waits on."""
    for record, names in folder.load(file_stem(push.gateway.url, push.key.labels)):
        folder.replace(names, record.delivered(entry, time.time()))


def store_all(
    folder: Folder,
    url: str,
    changes: Iterable[tuple[str, GroupingKey, bytes, float]],
    unanswered: Iterable[tuple[str, GroupingKey, bytes]],
) -> bool:
    """Whether all of it is on disk now; see Outbox.keep."""

    def records() -> Iterator[Record]:
        for method, key, text, at in changes:
            began = min(at, time.time())
            entry = entry_of(method, text, began, key.labels)
            if not entry.is_empty:
                yield Record(url, key.labels, began, entry)
        for method, key, text in unanswered:
            record = Record(url, key.labels, time.time())
            if folder.names(record.stem):
                sent = entry_of(method, text, 0.0, key.labels)
                yield record.expecting(sent.fingerprints())

    return _stored(folder, url, records()) is not None


def store_failed(folder: Folder, push: Push, began: float, error: Exception) -> bool:
    """Store a push that failed with ``error``, on which is noted whether it waits now."""
    if not may_arrive_later(error):
        return False
    is_kept = _store(folder, push, began, describe(error))
    with suppress(AttributeError):  # a user's exception may have slots
        error.kept = is_kept  # type: ignore[attr-defined]
    return is_kept


def _store(folder: Folder, push: Push, began: float, failure: str | None) -> bool:
    """Whether it waits now."""

    def records() -> Iterator[Record]:
        entry = push.entry(began)
        if not entry.is_empty:
            record = Record(push.gateway.url, push.key.labels, began, entry)
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
