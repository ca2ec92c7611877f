"""Waiting by an asyncio event loop: its own, uvloop's, or the one that anyio runs on.

No thread waits for the network. Threads look names up and use the disk, for which no system has a
call that does not block; they are not the loop's default executor's, which others' work may fill.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from ..errors import SettingsError
from . import error_mapping, http_parser  # noqa: F401 - later, sockets may have left no descriptor
from .thread_steps import OnLoop, in_steps, in_thread

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Generator, Hashable

T = TypeVar("T")

_SLICE = 0.005  # seconds; then others have a turn
_MOST_BEGIN = 8  # with the disk at a time, in each loop


class AsyncioBackend:
    """For the event loop that runs."""

    async def readable(self, sock: socket.socket, timeout: float | None) -> bool:
        """As a Backend's."""
        loop = asyncio.get_running_loop()
        return await _ready(loop, loop.add_reader, loop.remove_reader, sock, timeout)

    async def writable(self, sock: socket.socket, timeout: float | None) -> bool:
        """As a Backend's."""
        loop = asyncio.get_running_loop()
        return await _ready(loop, loop.add_writer, loop.remove_writer, sock, timeout)

    async def sleep(self, seconds: float) -> None:
        """As a Backend's."""
        await asyncio.sleep(seconds)

    async def look_up(self, name: Hashable, work: Callable[[], T], timeout: float | None) -> T:
        """As a Backend's. One thread looks up what several ask for at one time."""
        under_way = _state().look_ups
        task = under_way.get(name)
        if task is None:
            task = under_way[name] = asyncio.ensure_future(in_thread(work))

            def settled(task: asyncio.Task[Any]) -> None:
                under_way.pop(name, None)
                if not task.cancelled():
                    task.exception()  # nobody may wait for it any more

            task.add_done_callback(settled)
        async with asyncio.timeout(timeout):
            result: T = await asyncio.shield(task)
            return result

    async def in_slices(self, steps: Generator[None, None, T]) -> T:
        """As a Backend's."""
        until = time.monotonic() + _SLICE
        try:
            while True:
                next(steps)
                if time.monotonic() > until:
                    await asyncio.sleep(0)
                    until = time.monotonic() + _SLICE
        except StopIteration as end:
            result: T = end.value
            return result

    async def with_disk(self, flow: Callable[[Any], Coroutine[Any, Any, T]], gateway: Any) -> T:
        """As a Backend's: ``flow`` runs in threads, and its gateway's requests in the loop."""

        # Few begin at a time. One that has begun waits for none: it may hold the outbox's lock,
        # for which the others wait.
        async def begin(work: Callable[[], T]) -> T:
            async with _state().disk:
                return await in_thread(work)

        return await in_steps(flow(OnLoop(gateway)), begin, in_thread)


ASYNCIO = AsyncioBackend()


class _LoopState:
    """What the tasks of one event loop share."""

    def __init__(self) -> None:
        self.look_ups: dict[Hashable, asyncio.Task[Any]] = {}
        self.disk = asyncio.Semaphore(_MOST_BEGIN)


_states: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()


def _state() -> _LoopState:
    return _states.setdefault(asyncio.get_running_loop(), _LoopState())


async def _ready(
    loop: asyncio.AbstractEventLoop,
    add: Callable[..., Any],
    remove: Callable[[int], Any],
    sock: socket.socket,
    timeout: float | None,
) -> bool:
    future: asyncio.Future[bool] = loop.create_future()

    def settle(is_ready: bool) -> None:
        if not future.done():
            future.set_result(is_ready)

    descriptor = sock.fileno()
    try:
        add(descriptor, settle, True)
    except NotImplementedError:
        raise SettingsError(
            "this event loop can't watch sockets; use asyncio.SelectorEventLoop in place of"
            " Windows' ProactorEventLoop"
        ) from None
    timer = None if timeout is None else loop.call_later(timeout, settle, False)
    try:
        return await future
    finally:
        remove(descriptor)
        if timer is not None:
            timer.cancel()
