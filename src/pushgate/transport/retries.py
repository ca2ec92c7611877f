"""Trying a request again, inside one total deadline.

Only ``retryable`` errors are tried again: no response, 408, 429 and 5xx, never another 4xx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..errors import DeliveryError, GatewayRejectedError
from .backoff import Backoff
from .deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from .backend import Backend

T = TypeVar("T")

_FIRST_PAUSE = 0.1  # seconds
_LONGEST_PAUSE = 5.0
_LONGEST_ASKED = 300.0  # of Retry-After, where no deadline bounds it


async def with_retries(
    backend: Backend,
    attempt: Callable[[float | None], Coroutine[Any, Any, T]],
    *,
    timeout: float | None,
    retries: int,
) -> T:
    """Call ``attempt`` with the seconds left, up to ``retries`` times more after a failure.

    Pauses grow exponentially, and are no shorter than the server's Retry-After. A pause that does
    not fit into ``timeout`` is not begun.
    """
    deadline, left = Deadline(timeout), timeout
    backoff: Backoff | None = None
    for tried in range(retries + 1):
        try:
            return await attempt(left)
        except DeliveryError as error:
            asked = error.retry_after if isinstance(error, GatewayRejectedError) else None
            backoff = backoff or Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
            pause = max(backoff.failed(), asked or 0.0)
            left = deadline.left(0.0)
            longest = _LONGEST_ASKED if left is None else left
            if not error.retryable or tried == retries or pause >= longest:
                raise
            await backend.sleep(pause)
            left = deadline.left(0.0)
            if left == 0:  # the clock went on faster than the pause, as over a suspend
                raise
    raise AssertionError("unreachable")
