"""What a gateway takes, by its version and flags, which are read when a push first depends on them.

Enters: a way to read its status; families that text can't carry whole. Leaves: yes, no, or that
nothing is known; the families as messages, where it takes them. The status is read once; only what
may turn into a yes, by an upgrade or another flag, is asked for again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import GatewayUnreachableError, PushError, SettingsError
from ..protocol.families import has_native_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..protocol.families import FamilyLike
    from ..protocol.grouping_key import GroupingKey
    from ..protocol.protobuf import Messages
    from ..transport.deadline import Deadline

__all__ = ("LOSES_PROTOBUF", "Abilities")

_LONGEST_LOOKUP = 2.0  # seconds, and no more than half of what the push has
_AGAIN = 60.0  # seconds
# 1.5.1 keeps exemplars and native histograms, and shows both in a scrape, as 1.11.2 does.
# 1.7.0 drops all families but the first: https://github.com/prometheus/common/pull/616
_PROTOBUF_SINCE, LOSES_PROTOBUF = (1, 5, 1), (1, 7)
_UTF8_FLAG = "push.enable-utf8-names"


class Abilities:
    """Of the gateway ``url``. ``read`` gets its version and flags in the seconds it is given."""

    __slots__ = ("_again_at", "_read", "_text_only", "_url", "_version", "_with_utf8_names")

    def __init__(
        self, url: str, read: Callable[[float], tuple[str, Mapping[str, str] | None]]
    ) -> None:
        self._url = url
        self._read = read
        self._again_at = 0.0
        self._text_only = False
        self._version: tuple[int, ...] | None = None
        self._with_utf8_names: bool | None = None

    def messages(
        self,
        families: Sequence[FamilyLike],
        key: GroupingKey,
        deadline: Deadline,
        *,
        utf8_names: bool,
    ) -> Messages | None:
        """The families as protobuf; None where the gateway isn't known to take that.

        Where they have a native histogram, a gateway that can't be asked now raises
        GatewayUnreachableError: as text, they could not be sent at all.
        """
        if not self._takes_protobuf(deadline, needed=has_native_histograms(families)):
            return None
        from ..protocol.protobuf import encode_protobuf  # what few pushes need

        messages = encode_protobuf(families, key, utf8_names=utf8_names)
        if messages.utf8_names:
            self.require_utf8_names(deadline)
        return messages

    def refused_protobuf(self) -> None:
        """It did, whatever its version."""
        self._text_only = True

    def require_utf8_names(self, deadline: Deadline) -> None:
        """Raise SettingsError if it says that it runs without ``--push.enable-utf8-names``."""
        if not self._with_utf8_names:
            self._look_up(deadline)
        if self._with_utf8_names is False:
            raise SettingsError(
                f"the names of these metrics or labels need a gateway that knows UTF-8 names, and"
                f" {self._url} says it does not: start it (Pushgateway 1.11.0 or later) with"
                " --push.enable-utf8-names, or leave out utf8_names"
            )

    def _takes_protobuf(self, deadline: Deadline, *, needed: bool) -> bool:
        if self._text_only:
            return False
        if not _has_protobuf(self._version):
            error = self._look_up(deadline, now=needed and self._version is None)
            if needed and isinstance(error, GatewayUnreachableError):
                raise error
        return _has_protobuf(self._version)

    def _look_up(self, deadline: Deadline, *, now: bool = False) -> PushError | None:
        """What kept it from being read, such as a proxy that lets only pushes pass; or None."""
        if time.monotonic() < self._again_at and not now:
            return None
        self._again_at = time.monotonic() + _AGAIN
        left = deadline.left()
        try:
            version, flags = self._read(min(_LONGEST_LOOKUP, (left or _AGAIN) / 2))
        except PushError as error:
            return error
        self._version = _numbers(version)
        self._with_utf8_names = None if flags is None else flags.get(_UTF8_FLAG) == "true"
        return None


def _has_protobuf(version: tuple[int, ...] | None) -> bool:
    return version is not None and version >= _PROTOBUF_SINCE and version[:2] != LOSES_PROTOBUF


def _numbers(version: str) -> tuple[int, ...]:
    """``1.11.2`` or ``1.11.2-rc.0`` as numbers, as many as there are."""
    parts = version.removeprefix("v").partition("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isascii() and part.isdecimal())
