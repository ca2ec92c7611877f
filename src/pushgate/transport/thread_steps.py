"""Coroutines that block between their awaits, in threads; what they await is done in a loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .backend import BLOCKING
from .background import in_background

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    Aside = Callable[[Callable[[], Any]], Awaitable[Any]]

T = TypeVar("T")


async def in_steps(coroutine: Coroutine[Any, Any, T], begin: Aside, go_on: Aside) -> T:
    """What ``coroutine`` returns, which awaits nothing but LoopCalls.

    ``begin`` does its first step in a thread, ``go_on`` each that follows a request.
    """
    try:
        step = await begin(partial(_advanced, coroutine.send, None))
        while step.request is not None:
            try:
                further = partial(_advanced, coroutine.send, await step.request())
            except Exception as error:
                further = partial(_advanced, coroutine.throw, error)
            step = await go_on(further)
        return step.result  # type: ignore[no-any-return]
    finally:
        with suppress(ValueError):  # a thread is still in it: it ends with the thread
            coroutine.close()


class OnLoop:
    """A gateway for code in a thread: what it awaits of it is handed to the loop."""

    backend = BLOCKING

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._gateway, name)
        if not iscoroutinefunction(value):
            return value
        return lambda *arguments, **options: LoopCall(partial(value, *arguments, **options))


class LoopCall:
    """Awaited in a thread, it is what ``_advanced`` returns."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._call)


class _Step(NamedTuple):
    """What a coroutine came to: its next request, or None and its result."""

    request: Callable[[], Coroutine[Any, Any, Any]] | None
    result: Any = None


def _advanced(go_on: Callable[[Any], Any], value: Any) -> _Step:
    try:
        return _Step(go_on(value))
    except StopIteration as end:
        return _Step(None, end.value)


async def in_thread(work: Callable[[], T]) -> T:
    """What ``work`` returns, in a thread that is left behind where the caller is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(error: BaseException | None, result: T | None) -> None:
        if future.done():  # cancelled
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        outcome: tuple[BaseException | None, T | None]
        try:
            outcome = None, work()
        except BaseException as failure:
            outcome = failure, None
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(settle, *outcome)

    if in_background(run, "pushgate-aside") is None:
        return work()
    return await future
