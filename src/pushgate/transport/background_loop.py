"""What many asyncio tasks have done beside them, in one event loop in a thread of its own.

The tasks' own loop may be held up, cancelled or closed: what is pushed about them goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .asyncio_backend import ASYNCIO
from .background import Background, in_background
from .made_once import MadeOnce
from .thread_steps import LoopCall, OnLoop, in_steps, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_MOST_STEPS = 4  # at a time: with many threads at work, any other waits long for its turn
_STUCK = 1.0  # seconds


class BackgroundLoop(Background):
    """Runs flows too, but their awaits in the loop, and the rest in few threads at a time.

    A thread that hangs, on a disk or in a job's own code, holds up the others for a second.
    """

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_debug(False)  # its warnings are for the author of what runs in a loop
        self._steps = asyncio.Semaphore(_MOST_STEPS)
        self._steps_done = 0
        self._tasks: set[asyncio.Task[None]] = set()
        started = threading.Event()
        self._loop.call_soon(started.set)

        def run() -> None:
            with suppress(RuntimeError):  # a greenlet, in a thread where a loop runs already
                self._loop.run_forever()
            started.set()

        # Without the context of the task that comes first.
        if contextvars.Context().run(in_background, run, "pushgate-loop") is not None:
            started.wait()
        if not self._loop.is_running():
            self._loop.close()
            raise RuntimeError("no thread can be had")

    def start(self, flow: Callable[[], Coroutine[Any, Any, None]], name: str) -> Running:
        """Run ``flow``."""
        running = Running(self._loop)

        async def run() -> None:
            try:
                await in_steps(flow(), self._in_turn, self._in_turn)
            finally:
                running.set()

        def begin() -> None:
            task = self._loop.create_task(run(), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)
        return running

    def event(self) -> LoopEvent:
        """As a Background's."""
        return LoopEvent(self._loop)

    async def wait(self, event: Any, timeout: float | None = None) -> bool:
        """As a Background's."""
        return bool(await LoopCall(partial(event.wait_in_loop, timeout)))

    async def join(self, running: Any, timeout: float) -> None:
        """As a Background's."""
        await self.wait(running, timeout)

    def core(self, gateway: Any) -> Any:
        """As a Background's."""
        return OnLoop(gateway.core.waiting_by(ASYNCIO))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        has_turn = False
        while not has_turn:
            done = self._steps_done
            try:
                async with asyncio.timeout(_STUCK):
                    has_turn = await self._steps.acquire()
            except TimeoutError:
                if self._steps_done == done:
                    break
        try:
            return await in_thread(work)
        finally:
            self._steps_done += 1
            if has_turn:
                self._steps.release()


class LoopEvent(threading.Event):
    """An event that is set by any thread, and may be waited for in ``loop``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._in_loop = asyncio.Event()

    def set(self) -> None:
        """As threading.Event's."""
        super().set()
        self._loop.call_soon_threadsafe(self._in_loop.set)

    async def wait_in_loop(self, timeout: float | None) -> bool:
        """As ``wait``, in the loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._in_loop.wait()
        return self.is_set()


class Running(LoopEvent):
    """What was started. Set at its end."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self.is_set()


_shared = MadeOnce(BackgroundLoop)
_of_parents: list[MadeOnce[BackgroundLoop]] = []  # to close one would take the parent's files


def _renew() -> None:
    global _shared  # noqa: PLW0603 - a fork has not the thread
    _of_parents.append(_shared)
    _shared = MadeOnce(BackgroundLoop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def background_loop(gateway: Any = None) -> BackgroundLoop | None:
    """That of this process; None where no thread or descriptor can be had.

    Also where the Gateway that is pushed to has a handler of the user's, which may block.
    """
    try:
        return None if gateway is not None and gateway.core.has_own_handler else _shared()
    except (OSError, RuntimeError):
        return None
