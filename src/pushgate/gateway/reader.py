"""What can be read from a Pushgateway: its groups, its version and flags, its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..errors import PushError
from ..transport.deadline import Deadline
from ..transport.response import is_a_word
from ..transport.retries import with_retries
from ..transport.urls import base_url, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..protocol.groups import Group
    from ..transport.handler import HTTPHandler
    from ..transport.response import Response
    from .clock import ClockOffset
    from .features import GatewayFeatures

_STATUS = "/api/v1/status"
_LONGEST_DOCUMENT = 1 << 20  # bytes, of all but groups and metrics
_LONGEST_VERSION = 100  # characters

_Result = TypeVar("_Result")


class GatewayReader:
    """What a Gateway can be asked. ``timeout`` and ``retries`` are those of each call.

    Raises SettingsError for a URL that can't be used, ValueError for a time-out.
    """

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

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

    def groups(self, *, timeout: float | None = None) -> list[Group]:
        """Everything the gateway holds."""
        return list(self.iter_groups(timeout=timeout))

    def iter_groups(self, *, timeout: float | None = None) -> Iterator[Group]:
        """As groups, each read when its turn comes: for a process that must stay small.

        ``timeout`` bounds all of it. What fails meanwhile is raised by the iterator.
        """
        from ..protocol.groups import read_groups

        def open_stream(left: float | None) -> Response:
            return self._read("/api/v1/metrics", left, streamed=True)

        response = self._bounded(open_stream, timeout)
        return read_groups(response.chunks or iter((response.body,)))

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether a Pushgateway answers and says that it is ready. Raises no PushError."""
        try:
            return is_a_word(self._get("/-/ready", timeout))
        except PushError:
            return False

    def clock_offset(self, *, timeout: float | None = None) -> float:
        """How many seconds the gateway's clock is ahead of ours, to about half a second.

        By the Date of one of its responses; 0 where that has none.
        """
        clock = self.clock(timeout=timeout)
        return clock.middle if clock else 0.0

    def clock(self, *, timeout: float | None = None) -> ClockOffset | None:
        """How far the gateway's clock is from ours, to about a second; None without a Date."""
        from .clock import read_clock

        # Not tried again: between sending and receiving there must be one request.
        left = self._timeout if timeout is None else timeout
        return read_clock(lambda: self._read("/-/ready", left))

    def scrape(self, *, timeout: float | None = None) -> bytes:
        """What Prometheus gets. Raises GatewayRejectedError where a bad group fails the scrape."""
        return self._get("/metrics", timeout, max_body=None)

    def version(self, *, timeout: float | None = None) -> str:
        """The gateway's version, such as ``1.11.2``."""
        return self.status(timeout=timeout)[0]

    def status(self, *, timeout: float | None = None) -> tuple[str, dict[str, str]]:
        """The gateway's version and the command line flags it runs with, all of them."""
        version, flags = self._status_in(self._get(_STATUS, timeout))
        return version, flags or {}

    def started_at(self, *, timeout: float | None = None) -> float:
        """When the gateway was started, in Unix seconds by its clock."""
        import json
        from datetime import datetime

        try:
            data = json.loads(self._get(_STATUS, timeout))["data"]
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

    def _status_at_once(self, timeout: float) -> tuple[str, dict[str, str] | None]:
        """Not tried again: a push waits for it."""
        return self._status_in(self._read(_STATUS, timeout).body)

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

    def _get(
        self, path: str, timeout: float | None, max_body: int | None = _LONGEST_DOCUMENT
    ) -> bytes:
        return self._bounded(lambda left: self._read(path, left, max_body).body, timeout)

    def _read(
        self,
        path: str,
        timeout: float | None,
        max_body: int | None = _LONGEST_DOCUMENT,
        *,
        streamed: bool = False,
    ) -> Response:
        return self._reader.request(
            self._url, "GET", timeout, path=path, max_body=max_body, streamed=streamed
        )

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _bounded(
        self, attempt: Callable[[float | None], _Result], timeout: float | None
    ) -> _Result:
        return with_retries(
            attempt,
            timeout=self._timeout if timeout is None else timeout,
            retries=self._retries,
        )
