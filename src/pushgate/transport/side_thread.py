"""A call that may hang, in a thread of its own: who asks waits as long as it likes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from .background import in_background

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def in_side_thread(call: Callable[[], T]) -> Future[T]:
    """What ``call()`` returns or raises, in a daemon thread, which may be left behind.

    What is no Exception, such as SystemExit, becomes a RuntimeError. Who waits for the result may
    be cancelled, and the call goes on. Where no thread can be started, it is done at once.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            is_plain = isinstance(error, Exception)
            future.set_exception(error if is_plain else RuntimeError(repr(error)))

    if in_background(run, "pushgate-aside") is None:
        run()
    return future
