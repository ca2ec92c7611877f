"""What a gateway says of itself: its version and flags, read when a push first depends on them.

Enters: a way to read ``/api/v1/status``. Leaves: yes, no, or that nothing is known. It is read
once; only what may turn into a yes, by an upgrade or another flag, is asked for again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .errors import GatewayUnreachableError, PushError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("LOSES_PROTOBUF", "Abilities")

_LONGEST_LOOKUP = 2.0  # seconds, and no more than half of what the push has
_AGAIN = 60.0  # seconds
# 1.5.1 keeps exemplars and native histograms, and shows both in a scrape, as 1.11.2 does.
# 1.7.0 drops all families but the first: https://github.com/prometheus/common/pull/616
_PROTOBUF_SINCE, LOSES_PROTOBUF = (1, 5, 1), (1, 7)
_UTF8_FLAG = "push.enable-utf8-names"


class Abilities:
    """Of one gateway. ``read`` gets the answer's ``data`` in the seconds it is given."""

    __slots__ = ("_again_at", "_read", "_text_only", "_version", "_with_utf8_names")

    def __init__(self, read: Callable[[float], Any]) -> None:
        self._read = read
        self._again_at = 0.0
        self._text_only = False
        self._version: tuple[int, ...] | None = None
        self._with_utf8_names: bool | None = None

    def protobuf(self, timeout: float | None, *, needed: bool) -> bool:
        """Whether it takes protobuf, exemplars and native histograms included. No, if unknown.

        Where it is ``needed``, a gateway that can't be asked now raises GatewayUnreachableError.
        """
        if self._text_only:
            return False
        if not _takes_protobuf(self._version):
            error = self._look_up(timeout, now=needed and self._version is None)
            if needed and isinstance(error, GatewayUnreachableError):
                raise error
        return _takes_protobuf(self._version)

    def refused_protobuf(self) -> None:
        """It did, whatever its version."""
        self._text_only = True

    def utf8_names(self, timeout: float | None) -> bool | None:
        """Whether it runs with ``--push.enable-utf8-names``; None if unknown."""
        if not self._with_utf8_names:
            self._look_up(timeout)
        return self._with_utf8_names

    def _look_up(self, timeout: float | None, *, now: bool = False) -> PushError | None:
        """What kept it from being read, if anything did."""
        if time.monotonic() < self._again_at and not now:
            return None
        self._again_at = time.monotonic() + _AGAIN
        try:
            status = self._read(min(_LONGEST_LOOKUP, (timeout or _AGAIN) / 2))
            version = str(status["build_information"]["version"])
            with_utf8_names = str(status["flags"].get(_UTF8_FLAG)) == "true"
        except PushError as error:  # behind a proxy that lets only pushes pass, perhaps
            return error
        except (KeyError, TypeError, AttributeError):
            return None  # of another program
        self._version, self._with_utf8_names = _numbers(version), with_utf8_names
        return None


def _takes_protobuf(version: tuple[int, ...] | None) -> bool:
    return version is not None and version >= _PROTOBUF_SINCE and version[:2] != LOSES_PROTOBUF


def _numbers(version: str) -> tuple[int, ...]:
    """``1.11.2`` or ``1.11.2-rc.0`` as numbers, as many as there are."""
    parts = version.removeprefix("v").partition("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isascii() and part.isdecimal())
