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
from .thread_steps import LoopCall, OnLoop, in_steps, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .background import Running

T = TypeVar("T")

_MOST_STEPS = 4  # at a time: with many threads at work, any other waits long for its turn
_STUCK = 1.0  # seconds


class BackgroundLoop(Background):
    """Runs flows too, but their awaits in the loop, and the rest in few threads at a time.

    A thread that hangs, on a disk or in a job's own code, holds up the others for a second. The
    loop's own thread ends when no flow is left: a program that forks then has no thread of ours.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0  # flows
        self._steps_done = 0

    def start(self, flow: Callable[[], Coroutine[Any, Any, None]], name: str) -> Running | None:
        """Run ``flow``; None where no thread or descriptor can be had."""
        running = RunningFlow()

        async def run() -> None:
            try:
                await in_steps(flow(), self._in_turn, self._in_turn)
            finally:
                running.set()

        with self._lock:
            if not self._under_way and not self._begin():
                return None
            self._under_way += 1
            self._loop.call_soon_threadsafe(self._start_task, run, name)
        return running

    def event(self) -> LoopEvent:
        """As a Background's."""
        return LoopEvent()

    async def wait(self, event: Any, timeout: float | None = None) -> bool:
        """As a Background's."""
        return bool(await LoopCall(partial(event.wait_in_loop, timeout)))

    async def join(self, running: Any, timeout: float) -> None:
        """As a Background's."""
        await self.wait(running, timeout)

    def core(self, gateway: Any) -> Any:
        """As a Background's."""
        return OnLoop(gateway.core.waiting_by(ASYNCIO))

    def _begin(self) -> bool:
        """Whether a new thread with a loop runs now."""
        try:
            loop = asyncio.SelectorEventLoop()
        except OSError:
            return False
        started = threading.Event()
        loop.call_soon(started.set)

        def run() -> None:
            if asyncio._get_running_loop() is None:  # else it is a greenlet of gevent's
                # Its warnings are for the author of what runs in a loop.
                with asyncio.Runner(debug=False, loop_factory=lambda: loop) as runner:
                    runner.get_loop().run_forever()
            started.set()

        # Without the context of the task that comes first.
        if contextvars.Context().run(in_background, run, "pushgate-loop") is not None:
            started.wait()
        self._loop, self._tasks = loop, set[asyncio.Task[None]]()
        self._steps = asyncio.Semaphore(_MOST_STEPS)
        if not loop.is_running():
            loop.close()
        return loop.is_running()

    def _start_task(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        task = self._loop.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self._loop.stop()

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
    """An event that is set by any thread, and may be waited for in a loop, too."""

    def __init__(self) -> None:
        super().__init__()
        self._wakers: list[Callable[[], object]] = []

    def set(self) -> None:
        """As threading.Event's."""
        super().set()
        for wake in self._wakers.copy():
            with suppress(RuntimeError):  # it waits no more, and its loop is closed
                wake()

    async def wait_in_loop(self, timeout: float | None) -> bool:
        """As ``wait``, in the loop."""
        woken = asyncio.Event()
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, woken.set)
        self._wakers.append(wake)
        try:
            if not self.is_set():
                async with asyncio.timeout(timeout):
                    await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._wakers.remove(wake)
        return self.is_set()


class RunningFlow(LoopEvent):
    """What was started. Set at its end."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self.is_set()


_shared = BackgroundLoop()
_of_parents: list[BackgroundLoop] = []  # to close a loop of theirs would take it from them


def _renew() -> None:
    global _shared  # noqa: PLW0603 - a fork has not the thread
    _of_parents.append(_shared)
    _shared = BackgroundLoop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def background_loop(gateway: Any = None) -> BackgroundLoop | None:
    """That of this process; None where the Gateway that is pushed to has a handler of the user's.

    That may block as long as it likes.
    """
    return None if gateway is not None and gateway.core.has_own_handler else _shared
