"""Reading from a Pushgateway, as coroutines: its groups, its version and flags, its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..errors import PushError
from ..transport.deadline import Deadline
from ..transport.response import BodyStream, empty_stream, is_a_word
from ..transport.retries import with_retries
from ..transport.urls import base_url, without_credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from ..protocol.groups import Group
    from ..transport.backend import Backend
    from ..transport.handler import HTTPHandler
    from ..transport.response import Response
    from .clock import ClockOffset
    from .features import GatewayFeatures

_STATUS = "/api/v1/status"
_LONGEST_DOCUMENT = 1 << 20  # bytes, of all but groups and metrics
_LONGEST_VERSION = 100  # characters

_Result = TypeVar("_Result")


class GatewayReader:
    """What a gateway can be asked. ``timeout`` and ``retries`` are those of each call.

    Raises SettingsError for a URL that can't be used, ValueError for a time-out.
    """

    backend: Backend
    """How the coroutines wait."""

    def __init__(
        self, url: str, *, reader: HTTPHandler, timeout: float | None, retries: int
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None for no limit")
        self._url = base_url(url)
        self._reader = reader
        self._timeout = timeout
        self._retries = retries
        self._known_features: GatewayFeatures | None = None

    @property
    def url(self) -> str:
        """The base URL without credentials."""
        return without_credentials(self._url)

    @property
    def timeout(self) -> float | None:
        """What bounds a call that has no time-out of its own, in seconds."""
        return self._timeout

    async def groups(
        self,
        *,
        timeout: float | None = None,
        wanted: Callable[[Group], bool] = lambda _group: True,
    ) -> list[Group]:
        """Everything the gateway holds, of the groups that are ``wanted``."""
        return [group async for group in self.iter_groups(timeout=timeout) if wanted(group)]

    async def iter_groups(self, *, timeout: float | None = None) -> AsyncIterator[Group]:
        """As groups, each read when its turn comes: for a process that must stay small.

        ``timeout`` bounds all of it. What fails is raised by the iterator.
        """
        from ..protocol.groups import GroupParser

        chunks, parser = await self.open_groups(timeout=timeout), GroupParser()
        piece: bytes | None = None
        while piece != b"":
            piece = await chunks.piece()
            for group in parser.feed(piece):
                yield group

    async def open_groups(self, *, timeout: float | None = None) -> BodyStream:
        """The document with the groups, as it arrives."""

        async def open_stream(left: float | None) -> Response:
            return await self._read("/api/v1/metrics", left, streamed=True)

        response = await self._bounded(open_stream, timeout)
        return response.chunks or empty_stream()

    async def ready(self, *, timeout: float | None = None) -> bool:
        """Whether a Pushgateway answers and says that it is ready. Raises no PushError."""
        try:
            return is_a_word(await self._get("/-/ready", timeout))
        except PushError:
            return False

    async def clock_offset(self, *, timeout: float | None = None) -> float:
        """How many seconds the gateway's clock is ahead of ours, to about half a second.

        By the Date of one of its responses; 0 where that has none.
        """
        clock = await self.clock(timeout=timeout)
        return clock.middle if clock else 0.0

    async def clock(self, *, timeout: float | None = None) -> ClockOffset | None:
        """How far the gateway's clock is from ours, to about a second; None without a Date."""
        from .clock import read_clock

        # Not tried again: between sending and receiving there must be one request.
        left = self._timeout if timeout is None else timeout
        return await read_clock(lambda: self._read("/-/ready", left))

    async def scrape(self, *, timeout: float | None = None) -> bytes:
        """What Prometheus gets. Raises GatewayRejectedError where a bad group fails the scrape."""
        return await self._get("/metrics", timeout, max_body=None)

    async def version(self, *, timeout: float | None = None) -> str:
        """The gateway's version, such as ``1.11.2``."""
        return (await self.status(timeout=timeout))[0]

    async def status(self, *, timeout: float | None = None) -> tuple[str, dict[str, str]]:
        """The gateway's version and the command line flags it runs with, all of them."""
        version, flags = self._status_in(await self._get(_STATUS, timeout))
        return version, flags or {}

    async def started_at(self, *, timeout: float | None = None) -> float:
        """When the gateway was started, in Unix seconds by its clock."""
        import json
        from datetime import datetime

        try:
            data = json.loads(await self._get(_STATUS, timeout))["data"]
            return datetime.fromisoformat(data["start_time"]).timestamp()
        except PushError:
            raise
        except Exception as error:  # whatever it holds
            raise PushError(f"{self.url}{_STATUS} does not say when it was started") from error

    @property
    def _features(self) -> GatewayFeatures:
        if self._known_features is None:
            from .features import GatewayFeatures  # which few pushes need

            self._known_features = GatewayFeatures(self.url, self._status_at_once)
        return self._known_features

    async def _status_at_once(self, timeout: float) -> tuple[str, dict[str, str] | None]:
        """Not tried again: a push waits for it."""
        return self._status_in((await self._read(_STATUS, timeout)).body)

    def _status_in(self, document: bytes) -> tuple[str, dict[str, str] | None]:
        import json

        from ..protocol.groups import UNREADABLE

        try:
            data = json.loads(document)["data"]
            flags = data.get("flags")
            version = data["build_information"]["version"]
            if not isinstance(version, str) or len(version) > _LONGEST_VERSION:
                raise ValueError(version)
            return version, None if flags is None else dict(flags)
        except UNREADABLE as error:
            raise PushError(f"{self.url}{_STATUS} is not the response of a Pushgateway") from error

    async def _get(
        self, path: str, timeout: float | None, max_body: int | None = _LONGEST_DOCUMENT
    ) -> bytes:
        async def read(left: float | None) -> bytes:
            return (await self._read(path, left, max_body)).body

        return await self._bounded(read, timeout)

    async def _read(
        self,
        path: str,
        timeout: float | None,
        max_body: int | None = _LONGEST_DOCUMENT,
        *,
        streamed: bool = False,
    ) -> Response:
        return await self._reader.fetch(
            self.backend, self._url, "GET", timeout, path=path, max_body=max_body, streamed=streamed
        )

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _bounded(
        self, attempt: Callable[[float | None], Coroutine[Any, Any, _Result]], timeout: float | None
    ) -> Coroutine[Any, Any, _Result]:
        return with_retries(
            self.backend,
            attempt,
            timeout=self._timeout if timeout is None else timeout,
            retries=self._retries,
        )
