"""The formats and names that a gateway takes, by its version and flags.

They are read when a push first depends on them, and once: only what may turn into a yes, by an
upgrade or another flag, is asked for again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import GatewayUnreachableError, PushError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..transport.deadline import Deadline

_LONGEST_LOOKUP = 2.0  # seconds, and no more than half of what the push has
_AGAIN = 60.0  # seconds
# 1.5.1 keeps exemplars and native histograms, and shows both in a scrape, as 1.11.2 does.
_PROTOBUF_SINCE = (1, 5, 1)
LOSES_PROTOBUF = (1, 7)
"""It drops all families but the first: https://github.com/prometheus/common/pull/616"""
_UTF8_FLAG = "push.enable-utf8-names"


class GatewayFeatures:
    """Of the gateway ``url``. ``read`` gets its version and flags in the seconds it is given."""

    __slots__ = ("_again_at", "_read", "_refused", "_takes_protobuf", "_url", "_with_utf8_names")

    def __init__(
        self, url: str, read: Callable[[float], Awaitable[tuple[str, Mapping[str, str] | None]]]
    ) -> None:
        self._url = url
        self._read = read
        self._again_at = 0.0
        self._refused = False
        self._takes_protobuf: bool | None = None
        self._with_utf8_names: bool | None = None

    async def takes_protobuf(self, deadline: Deadline, *, needed: bool) -> bool:
        """Whether it is known to take protobuf.

        ``needed``: as text, the push could not be sent at all. Then a gateway that can't be asked
        now raises GatewayUnreachableError.
        """
        if self._refused:
            return False
        if not self._takes_protobuf:
            error = await self._look_up(deadline, now=needed and self._takes_protobuf is None)
            if needed and isinstance(error, GatewayUnreachableError):
                raise error
        return bool(self._takes_protobuf)

    def protobuf_was_refused(self) -> None:
        """Note that it refused protobuf, although its version takes it."""
        self._refused = True

    async def require_utf8_names(self, deadline: Deadline) -> None:
        """Raise SettingsError if it says that it runs without ``--push.enable-utf8-names``."""
        if not self._with_utf8_names:
            await self._look_up(deadline)
        if self._with_utf8_names is False:
            raise SettingsError(
                f"the names of these metrics or labels need a gateway that knows UTF-8 names, and"
                f" {self._url} says it does not: start it (Pushgateway 1.11.0 or later) with"
                " --push.enable-utf8-names, or leave out utf8_names"
            )

    async def _look_up(self, deadline: Deadline, *, now: bool = False) -> PushError | None:
        """Read them, or return why not: a proxy may let only pushes pass."""
        if time.monotonic() < self._again_at and not now:
            return None
        self._again_at = time.monotonic() + _AGAIN
        left = deadline.left()
        try:
            version, flags = await self._read(min(_LONGEST_LOOKUP, (left or _AGAIN) / 2))
        except PushError as error:
            return error
        self._takes_protobuf = _has_protobuf(version)
        self._with_utf8_names = None if flags is None else flags.get(_UTF8_FLAG) == "true"
        return None


def _has_protobuf(version: str) -> bool:
    """Of a version such as ``1.11.2`` or ``1.11.2-rc.0``."""
    parts = version.removeprefix("v").partition("-")[0].split(".")
    number = tuple(int(part) for part in parts if part.isascii() and part.isdecimal())
    return number >= _PROTOBUF_SINCE and number[:2] != LOSES_PROTOBUF
