"""Jobs that are Python code: `with job("backup") as run:` and `@job("backup")`.

A name and the body of a `with` or function enter; its outcome is pushed, its result and its
exceptions leave unchanged. No signal handler is installed, and any thread may use it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pushgate_subprocess._arguments import period, settings
from pushgate_subprocess._in_progress import JobInProgress
from pushgate_subprocess._options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pushgate import Gateway

__all__ = ("job",)

F = TypeVar("F", bound="Callable[..., Any]")

# Which runs this thread or task has entered and not left, the innermost last. A context variable,
# because one job may be entered by many tasks of one thread in any order.
_entered: ContextVar[tuple[tuple[job, JobInProgress], ...]] = ContextVar("_entered", default=())


class job:  # noqa: N801 - it reads as a keyword: with job("backup")
    """A job whose runs are reported: a context manager, also for ``async with``, and a decorator.

    ``name`` and ``group`` are its identity; ``gateway`` is a Gateway, a URL, or None for what the
    environment and the configuration file say. ``expect_every`` is the schedule's period,
    ``heartbeat`` the time between empty pushes while it runs and ``push_timeout`` the longest that
    leaving may be delayed; each is in seconds, or text such as ``"24h"``.

    Raises ValueError or TypeError for an argument that makes no sense. A gateway that fails raises
    nothing: it is logged as a warning of the logger ``pushgate``.
    """

    def __init__(
        self,
        name: str,
        *,
        group: Mapping[str, str] | None = None,
        gateway: Gateway | str | None = None,
        expect_every: float | str | None = None,
        heartbeat: float | str | None = None,
        push_timeout: float | str = 10.0,
        start_push: bool = True,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f'{name!r} is not the name of a job; write @job("name")')
        self._options = RunOptions(
            job=name,
            groups=dict(group or {}),
            settings=settings(gateway),
            expect_every=expect_every if expect_every is None else period(expect_every),
            heartbeat=heartbeat if heartbeat is None else period(heartbeat),
            push_timeout=period(push_timeout),
            start_push=start_push,
        )
        self._gateway = gateway
        self._open: list[JobInProgress] = []

    def __enter__(self) -> JobInProgress:
        run = JobInProgress(self._options, self._gateway)
        self._open.append(run)
        _entered.set((*_entered.get(), (self, run)))
        return run

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if (pusher := self._left().end(error)) is not None:
            pusher.wait()

    async def __aenter__(self) -> JobInProgress:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another framework's loop
            self.__exit__(kind, error, traceback)
            return
        over = asyncio.Event()

        def done() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(over.set)

        if (pusher := self._left().end(error, done)) is not None:
            timer = loop.call_later(self._options.push_timeout, over.set)
            try:
                await over.wait()
            finally:
                timer.cancel()
                pusher.close()

    def __call__(self, function: F) -> F:
        """Report each call of ``function``, which may be a coroutine function.

        Raises TypeError for a generator function: its calls end before its body begins.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function} is a generator; use 'with job(...)' in its body")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def reported(*arguments: Any, **keywords: Any) -> Any:
                async with self:
                    return await function(*arguments, **keywords)
        else:

            @functools.wraps(function)
            def reported(*arguments: Any, **keywords: Any) -> Any:
                with self:
                    return function(*arguments, **keywords)

        return cast("F", reported)

    def _left(self) -> JobInProgress:
        entered, still_open = _entered.get(), self._open
        mine = [run for owner, run in entered if owner is self and run in still_open]
        # Left in another context than it was entered in, as an ExitStack of another thread does.
        run = mine[-1] if mine else still_open[-1]
        still_open.remove(run)
        _entered.set(tuple(entry for entry in entered if entry[1] is not run))
        return run
