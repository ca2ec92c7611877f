"""The outbox: pushes go now, or wait on disk until they can."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..errors import PushError, require_posix
from ..log import RateLimitedLogger
from ..protocol.text import CONTENT_TYPE
from ..transport.backend import completed
from ..transport.deadline import Deadline
from ..transport.urls import without_credentials
from .push import Push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..gateway.client import Gateway
    from ..gateway.core import GatewayCore
    from ..protocol.grouping_key import GroupingKey
    from .folder import Folder
    from .record import Flushed, Record, WaitingGroup

_SUFFIX = ".json"  # of a file in which something waits
_BY_THE_WAY = 2.0  # seconds of a successful push's time that go into delivering what waits
_LONG_WAIT = 5.0  # seconds, for another process that delivers what is to be removed
_LEAST = 0.05  # seconds, below which that is not begun

_LOG = RateLimitedLogger()


class Outbox:
    """What could not be delivered to Pushgateways, on disk, shared by all processes of a host.

    ``path`` is a folder; making an Outbox makes and opens nothing. ``log`` gets lines for a person;
    by default they are warnings of the logger ``pushgate``.

    A PUT or DELETE replaces what waits for its gateway and group, a POST its families of the same
    names. So the folder is bounded by the groups and their families. It holds labels and metrics
    and no credentials, and only its owner can read it.

    Safe to share between threads and over a fork. Give it to ``Gateway(outbox=…)``. Raises
    PushError on Windows, ValueError for an empty path.
    """

    path: str

    def __init__(
        self, path: str | os.PathLike[str], *, log: RateLimitedLogger | None = None
    ) -> None:
        require_posix("an Outbox")
        if not os.fspath(path):
            raise ValueError("the path of an Outbox is empty; name a folder")
        self.path = os.path.abspath(path)
        self._log = log or _LOG

    def __repr__(self) -> str:
        return f"Outbox({self.path!r})"

    def is_empty(self) -> bool:
        """Whether nothing waits, for any gateway; False in doubt. Takes microseconds."""
        try:
            with os.scandir(self.path) as entries:
                return not any(entry.name.endswith(_SUFFIX) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False

    def send(
        self,
        gateway: Gateway,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """As :meth:`deliver`, in code that may block."""
        completed(self.deliver(gateway.core, method, key, body, timeout=timeout))

    async def deliver(
        self,
        gateway: GatewayCore,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
        text: Callable[[], bytes] | None = None,
    ) -> None:
        """Deliver now, in order with what waits here for this group, or store it.

        Raises what kept it from arriving: a DeliveryError, or what a user's handler raised, with
        ``kept`` True if it waits now. What the gateway refuses for good, and an empty POST, is not
        stored. After a success what else waits for this gateway is delivered, in what is left of
        ``timeout``, in seconds, and 2 seconds at most. ``text`` makes what is stored where ``body``
        is not text.
        """
        deadline = Deadline(gateway.timeout if timeout is None else timeout)
        push = Push(gateway, method, key, body, content_type, text)
        if self.is_empty():
            await self._send_or_store(push, deadline)
            return
        from .ordered_send import send_in_order, something_waits

        async def in_order(gateway: GatewayCore) -> None:
            ours = push._replace(gateway=gateway)
            if method == "POST" and not body:  # a heartbeat goes after what waits
                await self._flush_by_the_way(gateway, deadline, 0.5)
            if something_waits(self._folder, ours):
                await send_in_order(self._folder, ours, deadline)
            else:
                await self._send_or_store(ours, deadline)
            await self._flush_by_the_way(gateway, deadline, 1.0)

        await gateway.backend.with_disk(in_order, gateway)

    def keep(
        self,
        url: str,
        changes: Iterable[tuple[str, GroupingKey, bytes, float]],
        *,
        unanswered: Iterable[tuple[str, GroupingKey, bytes]] = (),
    ) -> bool:
        """Store changes for the gateway ``url``: method, group, text, and when it began.

        That is in Unix seconds. ``unanswered`` are requests that the gateway may have done, or may
        yet do: what it holds of them is then not taken for something newer. All of the changes are
        on disk when this returns True; where it returns False one is not, and that was logged.
        Never raises.
        """
        from .ordered_send import store_all

        return store_all(self._folder, without_credentials(url), changes, unanswered)

    def flush(
        self,
        gateway: Gateway,
        *,
        timeout: float | None = None,
        unseen: bool = False,
        dry_run: bool = False,
        from_url: str | None = None,
    ) -> Flushed:
        """Deliver what waits for this gateway, but for what it holds newer: see rule.py.

        ``timeout`` bounds the whole, in seconds; without one each request has the gateway's own.
        ``unseen`` sends everything without looking at what the gateway holds. ``dry_run`` changes
        nothing, and returns what would be. ``from_url`` is the former URL of a gateway that moved:
        what waits for that is delivered too. Never raises: the result has what ended it early.
        """
        flow = self._flush(
            gateway.core,
            timeout=timeout,
            unseen=unseen,
            dry_run=dry_run,
            former_url=from_url and without_credentials(from_url),
        )
        return completed(flow)

    def waiting(self, url: str | None = None) -> list[WaitingGroup]:
        """What waits, for the gateway ``url`` or for any, what waits longest first.

        Empty, and logged, where the folder can't be read.
        """
        return [record.shown() for record in self._records(url)]

    def discard(
        self, url: str | None = None, matches: Callable[[Mapping[str, str]], bool] | None = None
    ) -> list[WaitingGroup]:
        """Remove what waits for a gateway, or for any, and for the groups whose labels match.

        Returns what was removed. Raises DeliveryError while another process delivers it.
        """
        folder, gone = self._folder, []
        for record in self._records(url):
            if matches is None or matches(record.labels):
                with folder.locked(record.url, wait=_LONG_WAIT):
                    for now, names in folder.load(record.stem):
                        folder.remove(names)
                        gone.append(now.shown())
        return gone

    @property
    def _folder(self) -> Folder:
        from .folder import Folder

        return Folder(self.path, self._log)

    async def _send_or_store(self, push: Push, deadline: Deadline) -> None:
        began = time.time()
        try:
            await push.send(deadline)
        except Exception as error:
            from .ordered_send import store_failed

            failure = error

            async def store(_gateway: object) -> None:
                store_failed(self._folder, push, began, failure)

            await push.gateway.backend.with_disk(store, push.gateway)
            raise

    def _records(self, url: str | None) -> list[Record]:
        from .record import url_prefix

        folder = self._folder
        folder.attempt(folder.tidy)
        prefix = "" if url is None else url_prefix(without_credentials(url))
        found = folder.attempt(lambda: folder.load(prefix)) or []
        records = [record for record, _ in found if not record.is_empty]
        return sorted(records, key=lambda record: record.since)

    async def _flush_by_the_way(
        self, gateway: GatewayCore, deadline: Deadline, share: float
    ) -> None:
        left = deadline.left(0.0)
        timeout = _BY_THE_WAY if left is None else min(_BY_THE_WAY, left * share)
        if timeout >= _LEAST:
            await self._flush(gateway, timeout=timeout, in_passing=True)

    async def _flush(
        self, gateway: GatewayCore, *, dry_run: bool = False, **options: Any
    ) -> Flushed:
        from .record import Flushed

        if self.is_empty():
            return Flushed()
        from .flush import Flush

        folder = self._folder
        try:
            flushed = await Flush(folder, gateway, dry_run=dry_run, **options).run()
        except Exception as error:
            folder.log_failure(error)
            return Flushed(error=PushError(f"the outbox {self.path} can't be used"))
        for line in () if dry_run else flushed.dropped:
            self._log.warning(f"{gateway.url} {line}")
        return flushed
