"""Trying again, inside one total deadline.

Enters: an attempt that raises DeliveryError. Leaves: its result, or its last error. Only errors
that are ``retryable`` are tried again: no answer, 408, 429 and 5xx, never another 4xx.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from .errors import DeliveryError, GatewayRejectedError
from .wire import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("with_retries",)

T = TypeVar("T")

_FIRST_PAUSE = 0.1  # seconds; doubled each time
_LONGEST_PAUSE = 5.0
_LONGEST_ASKED = 300.0  # of Retry-After, where no deadline bounds it


def with_retries(attempt: Callable[[float | None], T], *, timeout: float | None, retries: int) -> T:
    """Call ``attempt`` with the seconds left, up to ``retries`` times more after a failure.

    Pauses grow exponentially with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), or are what the
    server's Retry-After asks for. A pause that does not fit into ``timeout`` is not begun.
    """
    deadline = Deadline(timeout)
    left = timeout
    for tried in range(retries + 1):
        try:
            return attempt(left)
        except DeliveryError as error:
            pause = _pause(tried, error)
            left = deadline.left(0.0)
            longest = _LONGEST_ASKED if left is None else left
            if not error.retryable or tried == retries or pause >= longest:
                raise
            time.sleep(pause)
            left = deadline.left(0.0)
            if left == 0:  # the clock went on faster than the pause, as over a suspend
                raise
    raise AssertionError("unreachable")


def _pause(tried: int, error: DeliveryError) -> float:
    from random import uniform

    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tried, 16))
    pause = uniform(longest / 2, longest)  # noqa: S311 - jitter is no secret
    if isinstance(error, GatewayRejectedError) and error.retry_after is not None:
        return max(pause, error.retry_after)  # it may be 0, or a date that is past by our clock
    return pause
