"""The outbox: pushes that go now, or wait on disk until they can.

Enters: pushes and deletes. Leaves: requests; what did not arrive, in a file. Nothing that is wrong
with the file is raised: it is said, and the push goes as it would without an outbox.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ..errors import PushError
from ..protocol.text import CONTENT_TYPE
from ..transport.urls import without_credentials
from ._peek import is_empty
from ._push import Ends, Push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..gateway.client import Gateway
    from ..protocol.grouping_key import GroupingKey
    from ._book import Book
    from ._clock import Clock
    from ._store import Row
    from ._values import Flushed, Note, WaitingGroup

__all__ = ("Outbox",)

_BY_THE_WAY = 2.0  # seconds of a successful push's time that go into delivering what waits
_LEAST = 0.05  # seconds, below which that is not begun


class Outbox:
    """What could not be delivered to Pushgateways, on disk, shared by all processes of a host.

    ``path`` is the file's; making an Outbox makes and opens nothing. ``say`` gets lines for a
    person, each once a process and hour; by default they are warnings of the logger ``pushgate``.

    What waits is kept for each gateway and group: a PUT or DELETE replaces what waits, a POST its
    families of the same names. So the file is bounded by the groups and their families. It holds
    labels and metrics and no credentials, and only its owner can read it.

    Safe to share between threads and over a fork. Give it to ``Gateway(outbox=…)``.
    """

    path: str

    def __init__(
        self, path: str | os.PathLike[str], *, say: Callable[[str], object] | None = None
    ) -> None:
        # Without links: its locks and marker are beside the file, for all who name it somehow.
        self.path = os.path.realpath(os.fspath(path))
        self._say = say
        self._clock: Clock | None = None

    def __repr__(self) -> str:
        return f"Outbox({self.path!r})"

    def is_empty(self) -> bool:
        """Whether nothing waits, for any gateway; False in doubt. Takes microseconds."""
        return is_empty(self.path)

    def send(
        self,
        gateway: Gateway,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
    ) -> None:
        """Deliver now, in order with what waits here for this group, or keep it.

        Raises what kept it from arriving: a DeliveryError, or the OSError of a user's handler, with
        ``kept`` True if it waits now. What the gateway refuses (400, 413, 415, 422) and an empty
        POST is not kept. After a success what else waits for this gateway is delivered, in what is
        left of ``timeout``, in seconds, and 2 seconds at most.
        """
        ends = Ends(gateway.timeout if timeout is None else timeout)
        push = Push(gateway, method, key, body, content_type, time.time(), ends)
        if self.is_empty():
            try:
                push.send(ends.for_sending())
            except OSError as error:
                from ._sending import keep_failed

                keep_failed(self._book, push, error)
                raise
            return
        from ._sending import send_heartbeat, send_in_order

        if push.change.is_heartbeat:
            self._flush_by_the_way(gateway, ends, 0.5)
            if self.is_empty():
                push.send(ends.left())
            else:
                send_heartbeat(self._book, push)
            return
        send_in_order(self._book, push)
        self._flush_by_the_way(gateway, ends, 1.0)

    def keep(
        self,
        url: str,
        changes: Iterable[tuple[str, GroupingKey, bytes, float]],
        *,
        unanswered: Iterable[tuple[str, GroupingKey, bytes]] = (),
    ) -> bool:
        """Keep changes for the gateway ``url``: method, group, encoded text, and when it began.

        That is in Unix seconds. ``unanswered`` are requests that the gateway may have done, or may
        yet do: what it holds of them is then not taken for something newer. All of the changes are
        on disk when this returns True; where it returns False none is, and that was said. Never
        raises.
        """

        def notes() -> Iterator[Note]:
            from ._notes import change_of, maybe_done
            from ._values import Note

            address = without_credentials(url)
            for method, key, text, at in changes:
                change = change_of(method, text, at, CONTENT_TYPE)
                if not change.is_heartbeat:
                    yield Note(address, key.labels, change)
            for method, key, text in unanswered:
                yield maybe_done(address, key.labels, change_of(method, text, 0.0, CONTENT_TYPE))

        book = self._book
        found: list[Note] | None = book.tried(lambda: list(notes()), otherwise=None)
        return found is not None and book.record(found)

    def flush(
        self, gateway: Gateway, *, timeout: float | None = None, unseen: bool = False
    ) -> Flushed:
        """Deliver what waits for this gateway, but for what it holds newer: see _rule.py.

        ``timeout`` bounds the whole, in seconds; without one each request has the gateway's own.
        ``unseen`` sends everything without looking at what the gateway holds. Raises nothing: what
        ended it early is in the result.
        """
        return self._flush(gateway, timeout=timeout, unseen=unseen, eager=True)

    def waiting(self, url: str | None = None) -> list[WaitingGroup]:
        """What waits, for the gateway ``url`` or for any, what waits longest first.

        Empty, and said, where the file can't be read.
        """
        if self.is_empty():
            return []
        book = self._book

        def read() -> list[Row]:
            book.absorb()
            with book.reading() as store:
                ids = store.ids(None if url is None else without_credentials(url))
                rows = [row for row in map(store.get, ids) if row is not None]
            if not rows:
                book.tidy()
            return rows

        rows: list[Row] = book.tried(read, otherwise=[])
        return [row.shown() for row in rows]

    @property
    def _book(self) -> Book:
        from ._book import Book  # sqlite3 with it

        return Book(self.path, self._say)

    def _flush_by_the_way(self, gateway: Gateway, ends: Ends, share: float) -> None:
        left = ends.left()
        timeout = _BY_THE_WAY if left is None else min(_BY_THE_WAY, left * share)
        if timeout >= _LEAST:
            self._flush(gateway, timeout=timeout, unseen=False, eager=False)

    def _flush(
        self, gateway: Gateway, *, timeout: float | None, unseen: bool, eager: bool
    ) -> Flushed:
        from ._values import Flushed

        if self.is_empty():
            return Flushed()
        from ._clock import Clock
        from ._flush import Flush
        from ._said import say_once

        book = self._book
        self._clock = self._clock or Clock()
        flush = Flush(book, gateway, timeout=timeout, unseen=unseen, eager=eager, clock=self._clock)

        def run() -> Flushed:
            book.absorb()
            flushed = flush.run()
            if not flushed.left:
                book.tidy()
            return flushed

        trouble = PushError(f"the outbox {self.path} can't be used")
        flushed = book.tried(run, otherwise=Flushed(error=trouble))
        for line in flushed.dropped:
            say_once(f"{gateway.url} {line}", self._say)
        return flushed
