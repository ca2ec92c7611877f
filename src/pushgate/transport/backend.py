"""How the transport waits: the one difference between a thread that blocks and an event loop.

All that sends, receives and decides is written once, as coroutines over sockets that do not block.
Only waiting is the backend's. That of threads blocks, so its coroutines end at their first step,
and :func:`completed` runs one without an event loop. docs/adr has the reasons.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..protocol.steps import finished

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Generator, Hashable
    from typing import Any

T = TypeVar("T")


class Backend(Protocol):
    """What a coroutine of the transport, or one that uses it, waits by."""

    async def readable(self, sock: socket.socket, timeout: float | None) -> bool:
        """Whether there is something to read, or the end, within ``timeout`` seconds."""

    async def writable(self, sock: socket.socket, timeout: float | None) -> bool:
        """Whether it can be written to, or has failed, within ``timeout`` seconds."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def look_up(self, name: Hashable, work: Callable[[], T], timeout: float | None) -> T:
        """What ``work`` returns for ``name``, which may hang: in a thread that can be left behind.

        Raises TimeoutError.
        """

    async def in_slices(self, steps: Generator[None, None, T]) -> T:
        """What ``steps`` returns: a long work, in which others may have a turn at each step."""

    async def with_disk(self, flow: Callable[[Any], Coroutine[Any, Any, T]], gateway: Any) -> T:
        """What ``flow(gateway)`` returns, which uses the disk, and the network by ``gateway``."""


class BlockingBackend:
    """For threads: waiting blocks; in a process patched by gevent or eventlet, only the greenlet.

    So functions of select, socket and time are looked up at each call: these replace them.
    """

    async def readable(self, sock: socket.socket, timeout: float | None) -> bool:
        """As a Backend's."""
        return is_readable(sock, timeout)

    async def writable(self, sock: socket.socket, timeout: float | None) -> bool:
        """As a Backend's."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            return bool(poll.poll(None if timeout is None else timeout * 1000))
        # On Windows a connection that failed is among the last.
        return any(select.select([], [sock], [sock], timeout))

    async def sleep(self, seconds: float) -> None:
        """As a Backend's."""
        time.sleep(seconds)

    async def look_up(self, name: Hashable, work: Callable[[], T], timeout: float | None) -> T:  # noqa: ARG002
        """As a Backend's."""
        # No thread would ever start once the interpreter finalizes, when a __del__ may push.
        if timeout is None or sys.is_finalizing():
            return work()
        from .background import in_background

        outcome: list[T | Exception] = []

        def run() -> None:
            try:
                outcome.append(work())
            except Exception as failure:  # handed to the waiting thread
                outcome.append(failure)

        thread = in_background(run, "pushgate-resolve")
        if thread is None:
            run()
        else:
            thread.join(timeout)
        if not outcome:
            raise TimeoutError("timed out")
        (result,) = outcome
        if isinstance(result, Exception):
            raise result
        return result

    async def in_slices(self, steps: Generator[None, None, T]) -> T:
        """As a Backend's."""
        return finished(steps)

    async def with_disk(self, flow: Callable[[Any], Coroutine[Any, Any, T]], gateway: Any) -> T:
        """As a Backend's."""
        return await flow(gateway)


BLOCKING = BlockingBackend()


def completed(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits by the blocking backend only."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine of the blocking backend waits for an event loop")


def is_readable(sock: socket.socket, timeout: float | None) -> bool:
    """Whether there is something to read, or the end, within ``timeout`` seconds."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))
    return bool(select.select([sock], [], [], timeout)[0])
