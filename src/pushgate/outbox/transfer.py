"""What waits, moved to another gateway or removed."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from .failure_texts import waiting_error
from .record import Record, file_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .folder import DeliveryLock, Folder
    from .record import WaitingGroup

__all__ = ("discard", "readdress")

_WAIT = 5.0  # seconds, for another process that delivers


def readdress(folder: Folder, old_url: str, new_url: str) -> list[str]:
    """Have what waits for ``old_url`` wait for ``new_url``, and return all the files of that.

    Raises DeliveryError while another process delivers it, OSError of the folder's.
    """
    names = folder.names(old_url) if old_url != new_url else []
    with _delivering(folder, old_url) if names else nullcontext():
        for name in names:
            record, content = folder.read(name)
            while record is not None:
                _add(folder, new_url, record)
                folder.sync()
                if folder.remove(name, content):
                    break
                record, content = folder.read(name)  # it changed meanwhile
    return folder.names(new_url)


def discard(folder: Folder, records: Iterable[Record]) -> list[WaitingGroup]:
    """What was removed. Raises OSError."""
    gone = []
    for record in records:
        with _delivering(folder, record.url):
            name = record.file_name
            now, content = folder.read(name)
            if now == record and folder.remove(name, content):
                gone.append(record.shown())
    return gone


def _add(folder: Folder, url: str, old: Record) -> None:
    def joined(record: Record | None) -> Record:
        now = time.time()
        moved = record or Record(url, old.labels, old.since)
        for change in old.recovered(now).entry.changes():
            moved = moved.stored(change, now)
        return moved.expecting(old.unanswered)._replace(since=min(moved.since, old.since))

    folder.update(file_name(url, old.labels), joined)


def _delivering(folder: Folder, url: str) -> DeliveryLock:
    lock = folder.delivering(url, wait=_WAIT)
    if lock is None:
        raise waiting_error("another process of this host is delivering what waits there", url)
    return lock
