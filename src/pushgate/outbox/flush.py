"""Delivering what waits for one gateway, by the rule in rule.py.

What was stored while a request was on its way shows before files are removed: they are looked at
again, together.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DeliveryError, PushError, concerns_one_group, forbids_reading, is_permanent
from ..transport.deadline import Deadline
from .failure_texts import describe, waiting_error
from .record import Flushed, labels_text, url_prefix
from .rule import Plan, plan, unseen_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..gateway.clock import ClockOffset
    from ..gateway.core import GatewayCore
    from ..protocol.groups import Group
    from .contents import StoredFamily
    from .folder import Folder
    from .record import Record

_SEEN_FOR = 5.0  # seconds; then the gateway is read again
_ROUNDS = 5  # of one group that keeps changing
_WAIT = 0.5  # seconds, for another process that merges or delivers
_PAUSE = 10.0  # seconds to the next flush in passing, after one in which the gateway failed
_LONG_PAUSE = 60.0  # ... after one that may not read the gateway
_LONGEST_PAUSE = 600.0  # a pause that ends later was noted by a clock that was set back


class _FailedError(Exception):
    """A request failed with ``error``. ``ends_all``: the gateway takes nothing more now."""

    def __init__(self, error: Exception, *, ends_all: bool = True) -> None:
        self.error = error
        self.ends_all = ends_all


class _ClockNeededError(Exception):
    """The gateway's clock is to be read before clocks can be compared."""


class Flush:
    """One go at all that waits for ``gateway``; see Outbox.flush for the options.

    ``in_passing``: nobody has asked for it.
    """

    def __init__(
        self,
        folder: Folder,
        gateway: GatewayCore,
        *,
        timeout: float | None = None,
        unseen: bool = False,
        dry_run: bool = False,
        former_url: str | None = None,
        in_passing: bool = False,
    ) -> None:
        self._folder = folder
        self._gateway = gateway
        self._unseen = unseen
        self._dry_run = dry_run
        self._former_url = former_url if former_url != gateway.url else None
        self._prefixes = [url_prefix(url) for url in (gateway.url, self._former_url) if url]
        self._in_passing = in_passing
        self._deadline = Deadline(timeout)
        self._wanted: set[str] = set()
        self._groups: dict[str, Group] | None = None
        self._seen_at = 0.0
        self._offset: ClockOffset | None = None
        self._pause = 0.0  # seconds until the next flush in passing
        self._delivered = 0
        self._dropped: list[str] = []

    async def run(self) -> Flushed:
        """Raises OSError of the folder's; what the gateway raises is in ``Flushed.error``."""
        self._folder.tidy()
        own, *_ = prefixes = self._prefixes
        if not self._left(prefixes):
            return Flushed()
        try:
            if self._former_url is not None and not self._dry_run:
                self._folder.readdress(self._former_url, self._gateway.url)
            wait = 0.0 if self._in_passing else _WAIT
            with self._folder.locked(self._gateway.url, wait=wait) as lock:
                error = None if self._pauses(lock) else await self._deliver_all()
                if self._pause:
                    with suppress(OSError):  # the time of the lock's file is the pause's end
                        os.utime(lock, (time.time() + self._pause,) * 2)
        except DeliveryError as busy:
            return Flushed(left=self._left(prefixes), error=busy)
        left = self._left([own])
        return Flushed(self._delivered, tuple(self._dropped), left, error if left else None)

    def _left(self, prefixes: Iterable[str]) -> int:
        """How many groups wait."""
        names = [name for prefix in prefixes for name in self._folder.names(prefix)]
        return len({name.partition(".")[0] for name in names})

    def _pauses(self, lock: int) -> bool:
        now = time.time()
        return self._in_passing and now < os.fstat(lock).st_mtime <= now + _LONGEST_PAUSE

    async def _deliver_all(self) -> Exception | None:
        """What ended it early, or kept a group from arriving."""
        loaded = [found for prefix in self._prefixes for found in self._folder.load(prefix)]
        self._wanted = {labels_text(record.labels) for record, _ in loaded}
        error = None
        # What has failed most goes last: a proxy may cut off the bodies of one group for ever.
        for record, names in sorted(loaded, key=lambda found: (found[0].tries, found[0].since)):
            try:
                await self._deliver(record, names)
            except _FailedError as failed:
                error = failed.error
                if failed.ends_all:
                    break
        return error

    async def _deliver(self, record: Record, names: list[str]) -> None:
        for _ in range(_ROUNDS):
            todo = await self._plan(record)
            done: list[str | None] = [None] if todo.method else []
            if not self._dry_run:
                done = await self._send(record, names, todo)
                if self._folder.names(record.stem) == names:
                    self._folder.remove(names)
                elif found := self._folder.load(record.stem):
                    ((record, names),) = found
                    self._groups = None  # what was sent is compared to what was stored since
                    continue
            if why := "; ".join(filter(None, (todo.reason, *done))):
                self._dropped.append(f"{record.key()}: {why}")
            self._delivered += not record.is_empty and (None in done or not why)
            return

    async def _plan(self, record: Record) -> Plan:
        if record.is_empty:
            return Plan(None)
        if self._unseen:
            return unseen_plan(record.entry)
        held = (await self._held()).get(labels_text(record.labels))
        arguments = record.entry, set(record.unanswered), held, record.labels, self._is_later
        try:
            return plan(*arguments)
        except _ClockNeededError:
            await self._read_clock()
        return plan(*arguments)

    def _is_later(self, here: float, there: float) -> bool:
        if self._offset is None:
            raise _ClockNeededError
        return self._offset.is_later(here, there)

    async def _read_clock(self) -> None:
        from ..gateway.clock import WITHOUT_DATE

        try:
            found = await self._gateway.clock(timeout=self._time_left())
        except (PushError, OSError) as error:
            raise _FailedError(error) from error
        self._offset = found or WITHOUT_DATE

    async def _held(self) -> dict[str, Group]:
        """The groups that the gateway holds, of those that something waits for."""
        if self._groups is None or time.monotonic() - self._seen_at > _SEEN_FOR:
            self._groups, self._seen_at = await self._read(), time.monotonic()
        return self._groups

    async def _read(self) -> dict[str, Group]:
        def is_wanted(group: Group) -> bool:
            return labels_text(group.labels) in self._wanted

        try:
            groups = await self._gateway.groups(timeout=self._time_left(), wanted=is_wanted)
            return {labels_text(group.labels): group for group in groups}
        except (PushError, OSError) as error:
            if isinstance(error, OSError) and not forbids_reading(error):
                self._pause = _PAUSE
                raise _FailedError(error) from error
            self._pause = _LONG_PAUSE
            text = (
                f"what waits can't be compared with what the gateway holds: {describe(error)};"
                " 'pushgate flush --unseen' sends it all the same"
            )
            raise _FailedError(waiting_error(text, self._gateway.url)) from error

    def _time_left(self) -> float | None:
        """For the next request, in seconds; None for no limit."""
        left, timeout = self._deadline.left(0.0), self._gateway.timeout
        if left is None:
            return timeout
        if left < 0.01:
            text = "there was no time for all that waits in the outbox"
            raise _FailedError(waiting_error(text, self._gateway.url))
        return left if timeout is None else min(left, timeout)

    async def _send(self, record: Record, names: list[str], todo: Plan) -> list[str | None]:
        """Of each request why the gateway refuses it for good; None where it does not."""
        if todo.method is None:
            return []
        families = {name: record.entry.families[name] for name in todo.names}
        refusal = await self._request(record, names, todo.method, families)
        base = record.entry if todo.method != "POST" else record.entry._replace(base=None)
        pushes = list(base._replace(families=families).pushes())
        if refusal is None or len(pushes) == 1:
            return [refusal]
        # One bad change does not take the others with it: each by itself, in order. A PUT of
        # nothing is done by a DELETE: should we be killed before the next, nobody has emptied it.
        return [
            await self._request(
                record,
                names,
                push.method if push.families or push.base is None else "DELETE",
                push.families,
            )
            for push in pushes
        ]

    async def _request(
        self,
        record: Record,
        names: list[str],
        method: str,
        families: Mapping[str, StoredFamily],
    ) -> str | None:
        """Why the gateway refuses it for good, if it does."""
        body = "".join(stored.text for stored in families.values())
        timeout = self._time_left()
        try:
            encoded = body.encode("utf-8", "surrogateescape")
            await self._gateway.send_directly(method, record.key(), encoded, timeout=timeout)
        except Exception as error:
            text = describe(error)
            if is_permanent(error):
                return f"{', '.join(sorted(families)) or method} refused: {text}"
            with suppress(OSError):
                self._folder.replace(names, record.failed(text))
            raise _FailedError(error, ends_all=not concerns_one_group(error)) from error
        return None
