"""Delivering what waits for one gateway, by the rule in rule.py.

No file is locked while a request is on its way: what was stored meanwhile shows when the file is to
be removed, and is looked at again.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DeliveryError, PushError, concerns_one_group, forbids_reading, is_permanent
from ..protocol.grouping_key import GroupingKey
from ..transport.deadline import Deadline
from .failure_texts import describe, waiting_error
from .record import Flushed, labels_text
from .rule import Plan, plan, unseen_plan
from .transfer import readdress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..gateway.client import Gateway
    from ..gateway.clock import ClockOffset
    from ..protocol.groups import Group
    from .entry import StoredFamily
    from .flush_options import FlushOptions
    from .folder import Folder
    from .record import Record

__all__ = ("Flush",)

_SEEN_FOR = 5.0  # seconds; then the gateway is read again
_ROUNDS = 5  # of one group that keeps changing
_PAUSE = 10.0  # seconds to the next flush in passing, after one in which the gateway failed
_LONG_PAUSE = 60.0  # ... after one that may not read the gateway
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


class _StopError(Exception):
    """The gateway takes nothing more now, for this reason."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _SkipError(_StopError):
    """It does not take this group; others it may."""


class Flush:
    """One go at all that waits for ``gateway``."""

    def __init__(self, folder: Folder, gateway: Gateway, options: FlushOptions) -> None:
        self._folder = folder
        self._gateway = gateway
        self._options = options
        self._deadline = Deadline(options.timeout)
        self._wanted: set[str] = set()
        self._groups: dict[str, Group] | None = None
        self._seen_at = 0.0
        self._offset: ClockOffset | None = None
        self._pause = 0.0  # seconds until the next flush in passing
        self._delivered = 0
        self._dropped: list[str] = []

    def run(self) -> Flushed:
        """Raises OSError of the folder's; what the gateway raises is in ``Flushed.error``."""
        url, former_url = self._gateway.url, self._options.former_url
        self._folder.tidy()
        names = self._folder.names(url)
        if former_url is not None and self._options.dry_run:
            names += self._folder.names(former_url)
        elif former_url is not None:
            try:
                names = readdress(self._folder, former_url, url)
            except DeliveryError as busy:
                return Flushed(left=len(self._folder.names(former_url)), error=busy)
        if not names:
            return Flushed()
        lock = self._folder.delivering(url)
        if lock is None:
            text = "another process of this host is delivering what waits in the outbox"
            return Flushed(left=len(names), error=waiting_error(text, url))
        with lock:
            if self._options.in_passing and lock.pauses(time.time()):
                return Flushed(left=len(names))
            error = self._deliver_all(names)
            if self._pause:
                with suppress(OSError):
                    lock.pause(time.time() + self._pause)
        left = len(self._folder.names(url))
        return Flushed(self._delivered, tuple(self._dropped), left, error if left else None)

    def _deliver_all(self, names: list[str]) -> Exception | None:
        """What ended it early, or kept a group from arriving."""
        records = [r for name in names if (r := self._folder.read(name)[0]) is not None]
        self._wanted = {labels_text(record.labels) for record in records}
        error = None
        try:
            for record in sorted(records, key=lambda record: record.since):
                try:
                    self._deliver(record.file_name)
                except _SkipError as skip:
                    error = skip.error
        except _StopError as stop:
            error = stop.error
        return error

    def _deliver(self, name: str) -> None:
        for _ in range(_ROUNDS):
            record, content = self._folder.read(name)
            if record is None or self._deliver_record(record.recovered(time.time()), content):
                return
            self._groups = None  # what was sent is there now, and compared to what came since

    def _deliver_record(self, record: Record, content: bytes) -> bool:
        """False where what waits has changed meanwhile."""
        todo = self._plan(record)
        refused, is_sent = ([], True) if self._options.dry_run else self._send(record, todo)
        if not self._options.dry_run and not self._folder.remove(record.file_name, content):
            return False
        if todo.reason or refused:
            why = "; ".join(filter(None, (todo.reason, *refused)))
            self._dropped.append(f"{_key(record)}: {why}")
        self._delivered += (is_sent and todo.method is not None) or not (todo.reason or refused)
        return True

    def _plan(self, record: Record) -> Plan:
        if self._options.unseen:
            return unseen_plan(record.entry)
        held = self._held().get(labels_text(record.labels))
        unanswered = set(record.unanswered)
        return plan(record.entry, unanswered, held, record.labels, self._is_later)

    def _is_later(self, here: float, there: float) -> bool:
        if self._offset is None:
            from ..gateway.clock import WITHOUT_DATE

            try:
                found = self._gateway.clock(timeout=self._time_left())
            except (PushError, OSError) as error:
                raise _StopError(error) from error
            self._offset = found or WITHOUT_DATE
        return self._offset.is_later(here, there)

    def _held(self) -> dict[str, Group]:
        """The groups that the gateway holds, of those that something waits for."""
        if self._groups is None or time.monotonic() - self._seen_at > _SEEN_FOR:
            self._groups, self._seen_at = self._read(), time.monotonic()
        return self._groups

    def _read(self) -> dict[str, Group]:
        try:
            groups = self._gateway.iter_groups(timeout=self._time_left())
            named = ((labels_text(group.labels), group) for group in groups)
            return {name: group for name, group in named if name in self._wanted}
        except (PushError, OSError) as error:
            if isinstance(error, OSError) and not forbids_reading(error):
                self._pause = _PAUSE
                raise _StopError(error) from error
            self._pause = _LONG_PAUSE
            text = (
                f"what waits can't be compared with what the gateway holds: {describe(error)};"
                " 'pushgate flush --unseen' sends it all the same"
            )
            raise _StopError(waiting_error(text, self._gateway.url)) from error

    def _time_left(self) -> float | None:
        """For the next request, in seconds; None for no limit."""
        left, timeout = self._deadline.left(0.0), self._gateway.timeout
        if left is None:
            return timeout
        if left < 0.01:
            text = "there was no time for all that waits in the outbox"
            raise _StopError(waiting_error(text, self._gateway.url))
        return left if timeout is None else min(left, timeout)

    def _send(self, record: Record, todo: Plan) -> tuple[list[str], bool]:
        """What the gateway refused for good, with its reasons; and whether it took any."""
        if todo.method is None:
            return [], False
        families = {name: record.entry.families[name] for name in todo.names}
        refusal = self._request(record, todo.method, families)
        if refusal is None:
            return [], True
        base = record.entry if todo.method != "POST" else record.entry._replace(base=None)
        changes = list(base._replace(families=families).changes())
        if len(changes) == 1:
            return [refusal], False
        # One bad change does not take the others with it: each by itself, in order. A PUT of
        # nothing is done by a DELETE: should we be killed before the next, nobody has emptied it.
        refused = []
        for change in changes:
            method = change.method if change.families or change.method == "POST" else "DELETE"
            if why := self._request(record, method, change.families):
                refused.append(why)
        return refused, len(refused) < len(changes)

    def _request(
        self, record: Record, method: str, families: Mapping[str, StoredFamily]
    ) -> str | None:
        """Why the gateway refuses it for good, if it does."""
        body = "".join(stored.text for stored in families.values())
        encoded = body.encode("utf-8", "surrogateescape")
        try:
            timeout = self._time_left()
            self._gateway.send_directly(method, _key(record), encoded, timeout=timeout)
        except _StopError:  # there was no time to send it
            raise
        except Exception as error:
            text = describe(error)
            if is_permanent(error):
                return f"{', '.join(sorted(families)) or method} refused: {text}"
            with suppress(OSError):
                self._folder.update(
                    record.file_name,
                    lambda now: now and now.recovered(time.time()).failed(text),
                    create=False,
                )
            raise (_SkipError if concerns_one_group(error) else _StopError)(error) from error
        return None


def _key(record: Record) -> GroupingKey:
    labels = dict(record.labels)
    return GroupingKey(labels.pop("job"), labels, utf8_names=not all(map(_PLAIN.match, labels)))
