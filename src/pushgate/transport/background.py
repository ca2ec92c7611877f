"""Work beside the caller, which may be left behind when its time is over."""

from __future__ import annotations

import contextvars
import threading
from contextlib import suppress

TYPE_CHECKING = False  # for the start of a command, see pushgate itself
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Protocol

    class Running(Protocol):
        """What was started: a thread, or a flow in a loop."""

        def is_alive(self) -> bool:
            """Whether it has not ended."""


def in_background(target: Callable[[], None], name: str) -> threading.Thread | None:
    """A started daemon thread, in the caller's context; None where none can be started.

    None can be where the limit on threads is reached, and while the interpreter shuts down.
    """
    context = contextvars.copy_context()  # log lines of a thread then say which task they are of
    thread = threading.Thread(target=context.run, args=(target,), name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class Background:
    """Runs each flow in a thread of its own, where its awaits block.

    A flow is a coroutine function. It awaits methods of :meth:`core`, and :meth:`wait` and
    :meth:`join`; between them it may block.
    """

    def start(self, flow: Callable[[], Coroutine[Any, Any, None]], name: str) -> Running | None:
        """Run ``flow``; None where no thread can be started."""
        return in_background(lambda: self.run(flow), name)

    def run(self, flow: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``flow`` in this thread."""
        with suppress(StopIteration):  # its end, to which it comes at once
            flow().send(None)

    def event(self) -> threading.Event:
        """One that flows may wait for; it is set by any thread."""
        return threading.Event()

    async def wait(self, event: Any, timeout: float | None = None) -> bool:
        """Whether ``event`` is set, within ``timeout`` seconds."""
        return bool(event.wait(timeout))

    async def join(self, running: Any, timeout: float) -> None:
        """Wait for the end of what :meth:`start` returned."""
        running.join(timeout)

    def core(self, gateway: Any) -> Any:
        """What flows use a Gateway by."""
        return gateway.core


THREADS = Background()
