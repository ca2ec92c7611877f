"""The outbox: pushes that go now, or wait on disk until they can.

Enters: pushes and deletes. Leaves: requests; what did not arrive, in a file. Nothing that is wrong
with the file is raised: it is said, and the push goes as it would without an outbox.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from ..addresses import without_credentials
from ..errors import PushError
from ._peek import is_empty, mark, unmark
from ._said import say_once
from ._values import Change, Flushed, Note, WaitingGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..errors import DeliveryError
    from ..gateway import Gateway
    from ..grouping import GroupingKey
    from ._clock import Clock
    from ._store import Row, Store

__all__ = ("Outbox",)

_WAIT = 2.0  # seconds, for other processes that write to the file
_TURN = 0.02  # seconds, for the same; then what is to be kept is written to a file of its own
_SHARE, _MOST = 0.25, 0.25  # of a push's time, and in seconds, that is left for keeping it
_BY_THE_WAY = 2.0  # seconds of a successful push's time that go into delivering what waits
_LEAST = 0.05  # seconds, below which that is not begun


T = TypeVar("T")


class _Claim(Enum):
    NOT_NEEDED = "nothing waits for the group"
    OURS = "nobody else delivers what waits for it"
    TAKEN = "another process delivers it"


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
        self.path = os.path.abspath(os.fspath(path))
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
        text: bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """Deliver now, in order with what waits here for this group, or keep it.

        Raises what kept it from arriving: a DeliveryError, or the OSError of a user's handler, with
        ``kept`` True if it waits now. What the gateway refuses (400, 413, 422) and an empty POST is
        not kept. After a success what else waits for this gateway is delivered, in what is left of
        ``timeout``, in seconds, and 2 seconds at most.
        """
        begun = time.time()
        ends = _Ends(gateway.timeout if timeout is None else timeout)
        if self.is_empty():
            self._send(gateway, method, key, text, begun, ends)
            return
        if method == "POST" and _change(method, text, begun).is_heartbeat:
            # Before what waits, at a gateway that forgot the group, it would make an emptied one.
            self._flush_by_the_way(gateway, ends, 0.5)
            self._note_heartbeat(gateway, key)
            gateway.send_directly(method, key, text, timeout=ends.left())
            return
        with self._claimed(gateway, key) as claim:
            if claim is _Claim.TAKEN and self._record(
                [Note(gateway.url, key.labels, _change(method, text, begun))]
            ):
                raise _kept_for_another(gateway, method, key)
            self._send(gateway, method, key, text, begun, ends)
            if claim is not _Claim.NOT_NEEDED:
                change = _change(method, text, begun)
                self._record([Note(gateway.url, key.labels, change, delivered=True)])
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
            for method, key, text, at in changes:
                yield Note(address, key.labels, _change(method, text, at))
            for method, key, text in unanswered:
                yield _unanswered_note(address, key, method, text)

        address = without_credentials(url)
        try:
            found = list(notes())
        except Exception as error:
            self._is_mended(error)
            return False
        return self._record(found)

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

        def read() -> list[Row]:
            self._absorb()
            with self._store(write=False) as store:
                ids = store.ids(None if url is None else without_credentials(url))
                return [row for row in map(store.get, ids) if row is not None]

        rows: list[Row] = self._tried(read, otherwise=[])
        return [
            WaitingGroup(
                row.url,
                {"job": row.labels["job"], **row.labels},
                row.entry.method,
                tuple(sorted(row.entry.families)),
                row.since,
                row.tries,
                row.last_error,
            )
            for row in rows
        ]

    @contextmanager
    def _claimed(self, gateway: Gateway, key: GroupingKey) -> Iterator[_Claim]:
        """Claim the group for the length of the block, where something waits for it."""
        from ._claims import claimed
        from ._spool import is_spooling
        from ._store import group_text

        with ExitStack() as stack:

            def claim() -> _Claim:
                if not is_spooling(self.path):
                    with self._store(write=False) as store:
                        if not store.waits(gateway.url, key.labels):
                            return _Claim.NOT_NEEDED
                what = group_text(gateway.url, key.labels)
                is_ours = stack.enter_context(claimed(self.path, what))
                return _Claim.OURS if is_ours else _Claim.TAKEN

            yield self._tried(claim, otherwise=_Claim.NOT_NEEDED)

    def _send(
        self,
        gateway: Gateway,
        method: str,
        key: GroupingKey,
        text: bytes,
        begun: float,
        ends: _Ends,
    ) -> None:
        try:
            gateway.send_directly(method, key, text, timeout=ends.for_sending())
        except OSError as error:
            from ._failures import describe, is_refused, is_unanswered, mark_kept
            from ._rule import fingerprints

            change = _change(method, text, begun)
            if not is_refused(error) and not change.is_heartbeat:
                labels = key.labels
                sent = fingerprints(change.families, method, labels) if is_unanswered(error) else ()
                note = Note(gateway.url, labels, change, describe(error), tuple(sent))
                mark_kept(error, kept=self._record([note]))
            raise

    def _note_heartbeat(self, gateway: Gateway, key: GroupingKey) -> None:
        """A POST of nothing goes before what waits: a group without metrics may be its work."""
        if not self.is_empty():
            self._record([_unanswered_note(gateway.url, key, "PUT", b"")])

    def _record(self, notes: Sequence[Note]) -> bool:
        """Whether the notes are on disk now."""

        def record() -> bool:
            from ._file import is_locked
            from ._spool import write

            try:
                with self._store(write=True, create=True, wait=_TURN) as store:
                    for note in notes:
                        store.apply(note, time.time())
            except Exception as error:
                if not is_locked(error):
                    raise
                write(self.path, notes)
            return True

        return self._tried(record, otherwise=False) if notes else True

    def _flush_by_the_way(self, gateway: Gateway, ends: _Ends, share: float) -> None:
        left = ends.left()
        timeout = _BY_THE_WAY if left is None else min(_BY_THE_WAY, left * share)
        if timeout >= _LEAST and not self.is_empty():
            self._flush(gateway, timeout=timeout, unseen=False, eager=False)

    def _flush(
        self, gateway: Gateway, *, timeout: float | None, unseen: bool, eager: bool
    ) -> Flushed:
        if self.is_empty():
            return Flushed()
        from ._clock import Clock
        from ._flush import Flush

        self._clock = self._clock or Clock()
        flush = Flush(
            self.path,
            lambda write: self._store(write=write),
            gateway,
            timeout=timeout,
            unseen=unseen,
            eager=eager,
            clock=self._clock,
        )
        trouble = PushError(f"the outbox {self.path} can't be used")

        def run() -> Flushed:
            self._absorb()
            flushed = flush.run()
            if not flushed.left and not self.is_empty():
                self._clear_marker()
            return flushed

        flushed = self._tried(run, otherwise=Flushed(error=trouble))
        for line in flushed.dropped:
            say_once(f"{gateway.url} {line}", self._say)
        return flushed

    @contextmanager
    def _store(self, *, write: bool, create: bool = False, wait: float = _WAIT) -> Iterator[Store]:
        from ._claims import turn
        from ._file import connect, make_folder
        from ._forks import no_fork
        from ._spool import read, remove
        from ._store import transaction

        with ExitStack() as stack:
            if not write:
                stack.enter_context(no_fork())
                connection = stack.enter_context(connect(self.path, wait=wait, create=create))
                yield stack.enter_context(transaction(connection, write=False))
                return
            if create:
                make_folder(self.path)
            stack.enter_context(turn(self.path, wait=wait))
            stack.enter_context(no_fork())
            notes, files = read(self.path)
            with (
                connect(self.path, wait=wait, create=create) as connection,
                transaction(connection, write=True) as store,
            ):
                for note in notes:
                    store.apply(note, time.time())
                yield store
                if is_left := not store.is_empty:
                    mark(self.path)
            if not is_left:
                unmark(self.path)
            remove(self.path, files)

    def _absorb(self) -> None:
        """What others have written to files of their own goes into the database."""
        from ._spool import is_spooling

        if is_spooling(self.path):
            with self._store(write=True, create=True):
                pass

    def _clear_marker(self) -> None:
        """Of a process that was killed before it did that."""
        with self._store(write=False) as store:
            is_done = store.is_empty
        if is_done:
            with self._store(write=True):
                pass

    def _tried(self, work: Callable[[], T], *, otherwise: T) -> T:
        """What ``work`` returns; ``otherwise`` where the file can't be used, which is said."""
        for is_last in (False, True):
            try:
                return work()
            except Exception as error:
                if is_last or not self._is_mended(error):
                    return otherwise
        return otherwise

    def _is_mended(self, error: Exception) -> bool:
        """Say what is wrong with the file: whether there is room for a new one now."""
        import sqlite3

        from ._claims import turn
        from ._file import is_corruption, is_locked, move_aside
        from ._forks import no_fork

        if isinstance(error, sqlite3.Error) and is_corruption(error):
            try:
                with no_fork():
                    aside = move_aside(self.path)
            except OSError as trouble:
                error = trouble
            else:
                if aside is not None:
                    text = f"the outbox {self.path} is broken ({error}); it is now {aside}"
                    say_once(f"{text}, and a new one is begun", self._say)
                return True
        if isinstance(error, FileNotFoundError) and error.filename == self.path:
            with suppress(OSError), turn(self.path, wait=_TURN):
                if not os.path.exists(self.path):  # somebody has moved it aside, or removed it
                    unmark(self.path)
            return False
        if is_locked(error):
            return False  # nothing is lost: what is to be kept does not wait for it
        # Without the name of a lock file, with which the same would be said again and again.
        why = getattr(error, "strerror", None) or error
        say_once(
            f"the outbox {self.path} can't be used: {why}; what is not delivered is lost; set"
            " PUSHGATE_OUTBOX to a file of your own, or to off",
            self._say,
        )
        return False


class _Ends:
    """When a push has to be over."""

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout
        self._kept_back = 0.0 if timeout is None else min(_MOST, timeout * _SHARE)

    def left(self) -> float | None:
        """In seconds, above 0; None for no limit."""
        return None if self._at is None else max(0.001, self._at - time.monotonic())

    def for_sending(self) -> float | None:
        """What is left for a request, in seconds, so that there is time to keep it after."""
        left = self.left()
        return None if left is None else max(0.001, left - self._kept_back)


def _change(method: str, text: bytes, at: float) -> Change:
    from ._families import split

    return Change(method, split(text) if method != "DELETE" else {}, at)


def _unanswered_note(url: str, key: GroupingKey, method: str, text: bytes) -> Note:
    """That the gateway may have done this, or may do it yet."""
    from ._rule import fingerprints

    sent = _change(method, text, 0.0)
    found = tuple(fingerprints(sent.families, method, key.labels))
    return Note(url, key.labels, Change("POST", {}, 0.0), unanswered=found)


def _kept_for_another(gateway: Gateway, method: str, key: GroupingKey) -> DeliveryError:
    from ._failures import told

    text = "another process of this host is delivering what waits for this group"
    return told(text, gateway.url, method=method, group=key.labels)
