"""Delivering what waits for one gateway, by the rule in _rule.py.

Enters: the outbox's file, a gateway and a time. Leaves: requests and a :class:`Flushed`. The file
is not locked while a request is on its way: what was merged into an entry meanwhile is seen by its
version, and looked at again.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import (
    PushError,
    concerns_one_group,
    forbids_reading,
    is_permanent,
    may_have_arrived,
)
from ..protocol.grouping_key import GroupingKey
from ._claims import claimed
from ._clock import UndecidedError
from ._failures import describe, told
from ._families import content_type_of
from ._notes import left_over, on_its_way
from ._spool import packed
from ._store import group_text, labels_text
from ._values import Flushed
from .rule import Plan, fingerprints, plan, unseen_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from ._book import Book
    from ._claims import Claim
    from ._clock import Clock
    from ._store import Row
    from ._values import Entry, Kept

__all__ = ("Flush",)

_SEEN_FOR = 5.0  # seconds; then the gateway is read again
_ROUNDS = 5  # of one group that keeps changing
_PAUSE = 10.0  # seconds to the next flush in passing, after one that had not the time it needs
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LONG_PAUSE = 60.0  # ... after one that may not read the gateway


class _StopError(Exception):
    """The gateway takes nothing more now, for this reason."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _SkipError(_StopError):
    """It does not take this group; others it may."""


class Flush:
    """One go at all that waits for ``gateway``.

    ``timeout`` bounds the whole, in seconds. ``eager`` is for one that was asked for: others go in
    passing.
    """

    def __init__(
        self,
        book: Book,
        gateway: Gateway,
        *,
        timeout: float | None,
        unseen: bool,
        eager: bool,
        clock: Clock,
    ) -> None:
        self._book = book
        self._gateway = gateway
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._unseen = unseen
        self._eager = eager
        self._clock = clock
        self._groups: dict[str, Group] | None = None
        self._seen_at = 0.0
        self._pause = 0.0
        self._delivered = 0
        self._dropped: list[str] = []

    def run(self) -> Flushed:
        """Raises nothing of the gateway's: that is in ``Flushed.error``."""
        url = self._gateway.url
        with self._book.reading() as store:
            ids = store.ids(url)
            if not ids or (not self._eager and store.pauses(url, time.time())):
                return Flushed(left=len(ids))
        error: Exception | None = None
        with claimed(self._book.path, url) as claim:
            if claim is not None:
                error = self._deliver_all(ids)
            else:
                text = "another process of this host is delivering what waits in the outbox"
                error = told(text, url)
        with self._book.reading() as store:
            left = store.count(url)
        return Flushed(self._delivered, tuple(self._dropped), left, error if left else None)

    def _deliver_all(self, ids: list[int]) -> Exception | None:
        error = None
        taken: list[int] = []
        try:
            for group_id in ids:
                try:
                    if not self._deliver(group_id):
                        taken.append(group_id)
                except _SkipError as skip:
                    error = skip.error
            for group_id in taken:  # by others, who may be done now
                self._deliver(group_id)
        except _StopError as stop:
            error = stop.error
        if self._pause:
            with self._book.writing() as store:
                store.pause(self._gateway.url, time.time() + self._pause)
        return error

    def _deliver(self, group_id: int) -> bool:
        """False where another one is delivering it."""
        with self._book.reading() as store:
            row = store.get(group_id)
        if row is None:
            return True
        with claimed(self._book.path, group_text(row.url, row.labels)) as claim:
            if claim is None:
                return False
            if notes := left_over(claim):
                with self._book.writing() as store:
                    for note in notes:
                        store.apply(note, time.time())
            claim.settle()
            for _ in range(_ROUNDS):
                # The one who had the claim before may have noted there what it delivered.
                self._book.absorb()
                with self._book.reading() as store:
                    row = store.get(group_id)
                    unanswered = store.unanswered(group_id)
                if row is None or self._deliver_row(row, unanswered, claim):
                    break
                self._groups = None  # what was sent is there now, and compared to what came since
        return True

    def _deliver_row(self, row: Row, unanswered: set[tuple[str, str]], claim: Claim) -> bool:
        """False where what waits has changed meanwhile."""
        try:
            todo = self._plan(row, unanswered)
        except UndecidedError:
            self._pause = self._pause or _PAUSE
            return True
        refused, is_sent = self._send(row, todo, claim)
        with self._book.writing() as store:
            found = store.get(row.id)
            if found is not None and found.version != row.version:
                if todo.method is not None:  # it is older than what came meanwhile
                    sent = {name: row.entry.families[name] for name in todo.names}
                    store.add_unanswered(row.id, fingerprints(todo.method, sent, row.labels))
                return False
            if found is not None:
                store.forget(found)
        if todo.reason or refused:
            why = "; ".join(filter(None, (todo.reason, *refused)))
            self._dropped.append(f"{_key(row)}: {why}")
        self._delivered += is_sent or not (todo.reason or refused)
        return True

    def _plan(self, row: Row, unanswered: set[tuple[str, str]]) -> Plan:
        if self._unseen:
            return unseen_plan(row.entry)
        held = self._held().get(labels_text(row.labels))
        return plan(row.entry, unanswered, held, row.labels, self._is_later)

    def _is_later(self, here: float, there: float) -> bool:
        try:
            return self._clock.is_later(self._gateway, here, there, self._time_left)
        except (PushError, OSError) as error:
            raise _StopError(error) from error

    def _held(self) -> dict[str, Group]:
        """The groups that the gateway holds, of those that something waits for."""
        if self._groups is None or time.monotonic() - self._seen_at > _SEEN_FOR:
            with self._book.reading() as store:
                wanted = store.labels(self._gateway.url)
            self._groups, self._seen_at = self._read(wanted), time.monotonic()
        return self._groups

    def _read(self, wanted: set[str]) -> dict[str, Group]:
        try:
            groups = self._gateway.iter_groups(timeout=self._time_left())
            named = ((labels_text(group.labels), group) for group in groups)
            return {name: group for name, group in named if name in wanted}
        except (PushError, OSError) as error:
            if isinstance(error, OSError) and not forbids_reading(error):
                self._pause = _PAUSE
                raise _StopError(error) from error
            self._pause = _LONG_PAUSE
            text = (
                f"what waits can't be compared with what the gateway holds: {describe(error)};"
                " 'pushgate flush --unseen' sends it all the same"
            )
            raise _StopError(told(text, self._gateway.url)) from error

    def _time_left(self) -> float | None:
        """For the next request, in seconds; None for no limit."""
        if self._ends is None:
            return self._gateway.timeout
        left = self._ends - time.monotonic()
        if left < 0.01:
            text = "there was no time for all that waits in the outbox"
            raise _StopError(told(text, self._gateway.url))
        return left if self._gateway.timeout is None else min(left, self._gateway.timeout)

    def _send(self, row: Row, todo: Plan, claim: Claim) -> tuple[list[str], bool]:
        """What the gateway refused of it, with its reasons; and whether it took any."""
        if todo.method is None:
            return [], False
        families = {name: row.entry.families[name] for name in todo.names}
        refusal = self._request(row, todo.method, families, claim)
        parts = list(_parts(row.entry, todo.method, families))
        if refusal is None:
            return [], True
        if len(parts) == 1:
            return [refusal], False
        # One bad change does not take the others with it: each by itself, in order.
        refused = [why for part in parts if (why := self._request(row, *part, claim))]
        return refused, len(refused) < len(parts)

    def _request(
        self, row: Row, method: str, families: Mapping[str, Kept], claim: Claim
    ) -> str | None:
        """Why the gateway refuses it for good, if it does."""
        sent = tuple(fingerprints(method, families, row.labels))
        with suppress(OSError):  # for the next one to know, if we are stopped meanwhile
            claim.note(packed([on_its_way(row.url, row.labels, sent)]))
        bodies: dict[str, bytes] = {}
        for kept in families.values():
            bodies[kept.kind] = bodies.get(kept.kind, b"") + kept.body
        how = method
        try:
            for kind, body in bodies.items() or (("text", b""),):
                self._gateway.send_directly(
                    how,
                    _key(row),
                    body,
                    timeout=self._time_left(),
                    content_type=content_type_of(kind),
                )
                how = "POST"
        except _StopError:  # there was no time to send it
            claim.settle()
            raise
        except Exception as error:
            if is_permanent(error):
                claim.settle()
                return f"{', '.join(sorted(families)) or method} refused: {describe(error)}"
            with self._book.writing() as store:
                store.failed(row.id, describe(error))
                if isinstance(error, OSError) and may_have_arrived(error):
                    store.add_unanswered(row.id, sent)
            claim.settle()
            raise (_SkipError if concerns_one_group(error) else _StopError)(error) from error
        claim.settle()
        return None


def _parts(
    entry: Entry, method: str, families: Mapping[str, Kept]
) -> Iterator[tuple[str, dict[str, Kept]]]:
    """The changes that ``families`` are of, in order."""
    later = dict(families)
    if method != "POST":
        base = {name: kept for name, kept in families.items() if kept.at == entry.base_at}
        later = {name: kept for name, kept in families.items() if name not in base}
        yield entry.base or method, base
    for at in sorted({kept.at for kept in later.values()}):
        yield "POST", {name: kept for name, kept in later.items() if kept.at == at}


def _key(row: Row) -> GroupingKey:
    labels = dict(row.labels)
    return GroupingKey(labels.pop("job"), labels, utf8_names=not all(map(_PLAIN.match, labels)))
