"""Whether a gateway takes UTF-8 names, by its flags.

They are read when a push first depends on them, and once: only a no may turn into a yes, by an
upgrade or another flag, and is asked for again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import PushError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..transport.deadline import Deadline

_LONGEST_LOOKUP = 2.0  # seconds, and no more than half of what the push has
_AGAIN = 60.0  # seconds
_UTF8_FLAG = "push.enable-utf8-names"


class GatewayFeatures:
    """Of the gateway ``url``. ``read`` gets its version and flags in the seconds it is given."""

    __slots__ = ("_again_at", "_read", "_url", "_with_utf8_names")

    def __init__(
        self, url: str, read: Callable[[float], tuple[str, Mapping[str, str] | None]]
    ) -> None:
        self._url = url
        self._read = read
        self._again_at = 0.0
        self._with_utf8_names: bool | None = None

    def require_utf8_names(self, deadline: Deadline) -> None:
        """Raise SettingsError if it says that it runs without ``--push.enable-utf8-names``."""
        if not self._with_utf8_names and time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _AGAIN
            self._look_up(deadline)
        if self._with_utf8_names is False:
            raise SettingsError(
                f"the names of these metrics or labels need a gateway that knows UTF-8 names, and"
                f" {self._url} says it does not: start it (Pushgateway 1.11.0 or later) with"
                " --push.enable-utf8-names, or leave out utf8_names"
            )

    def _look_up(self, deadline: Deadline) -> None:
        left = deadline.left()
        try:
            _, flags = self._read(min(_LONGEST_LOOKUP, (left or _AGAIN) / 2))
        except PushError:  # a proxy may let only pushes pass
            return
        self._with_utf8_names = None if flags is None else flags.get(_UTF8_FLAG) == "true"
