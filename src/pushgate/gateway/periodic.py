"""Pushes beside a job: now and then while it runs, and once when it ends."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from ..errors import PushError
from ..log import RateLimitedLogger
from ..transport.background import in_background

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from ..protocol.families import Metrics
    from ..protocol.grouping_key import GroupingKey

F = TypeVar("F", bound="Callable[..., Any]")

_LOG = RateLimitedLogger()


class _PushesBeside:
    """What to push, how often, and to whom a failure is told.

    ``gateway`` is a Gateway or an AsyncGateway, whose modules import this one.
    """

    def __init__(
        self,
        gateway: Any,
        seconds: float | None,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None,
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        if seconds is not None and not 0 < seconds <= threading.TIMEOUT_MAX:
            raise ValueError(f"{seconds!r} is no time between pushes; give seconds above 0")
        if inspect.iscoroutinefunction(on_error):
            raise TypeError("on_error is a coroutine function, which nobody would await")
        self._gateway = gateway
        self._seconds = seconds
        self._what = (job, metrics, grouping_key)
        self._on_error = on_error
        self._process = 0

    def _again(self) -> Self:
        """The same for another run."""
        return type(self)(self._gateway, self._seconds, *self._what, self._on_error)

    def _is_of_a_fork(self) -> bool:
        """Whether this process is a fork of the one that entered it, and pushes."""
        return os.getpid() != self._process

    def _tell(self, error: Exception) -> None:
        try:
            if self._on_error is not None:
                self._on_error(error)
                return
            text = str(error) if isinstance(error, PushError) else repr(error)
            waits = "; it waits in the outbox" if getattr(error, "kept", False) else ""
            _LOG.warning(f"a push for the job {self._what[0]} failed: {text}{waits}")
        except Exception as fault:
            _LOG.warning(f"on_error raised {fault!r}")


class PeriodicPush(_PushesBeside):
    """What :meth:`pushgate.Gateway.every` and ``at_end`` return: a context manager, or a decorator.

    Nothing that fails is raised into the job.
    """

    def __enter__(self) -> Self:
        self._process, self._over = os.getpid(), threading.Event()
        self._thread = None
        if self._seconds is not None:
            self._thread = in_background(self._run, "pushgate-every")
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_of_a_fork():
            return
        self._over.set()
        thread = self._thread or in_background(self._run, "pushgate-every")
        if thread is None:  # the limit on threads is reached
            self._push()
            return
        timeout = self._gateway.timeout
        # One push that is under way, and the last one.
        thread.join(None if timeout is None else 2 * timeout + 1)
        if thread.is_alive():
            self._tell(TimeoutError("gave up waiting for the last push"))

    def __call__(self, function: F) -> F:
        """Push beside each call of ``function``."""
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function} is a coroutine function; take an AsyncGateway for it")
        _refuse_generators(function)

        @functools.wraps(function)
        def accompanied(*arguments: Any, **keywords: Any) -> Any:
            with self._again():
                return function(*arguments, **keywords)

        return cast("F", accompanied)

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._push()
        self._push()

    def _push(self) -> None:
        try:
            self._gateway.pushadd(*self._what)
        except Exception as error:  # of a collector, or of a user's handler, it may be any
            self._tell(error)


class AsyncPeriodicPush(_PushesBeside):
    """What :meth:`pushgate.AsyncGateway.every` and ``at_end`` return: as PeriodicPush, async."""

    async def __aenter__(self) -> Self:
        import asyncio

        self._process, self._over = os.getpid(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        if self._seconds is not None:
            self._task = asyncio.create_task(self._run(), name="pushgate-every")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_of_a_fork():
            return
        if kind is GeneratorExit:  # nothing can be awaited any more
            self._tell(RuntimeError("the event loop was closed before the last push"))
            return
        self._over.set()
        if self._task is not None:
            import asyncio

            try:
                await asyncio.wait([self._task])
            finally:
                self._task.cancel()
        await self._push()

    def __call__(self, function: F) -> F:
        """Push beside each call of ``function``, a coroutine function."""
        _refuse_generators(function)
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function} is no coroutine function; take a Gateway for it")

        @functools.wraps(function)
        async def accompanied(*arguments: Any, **keywords: Any) -> Any:
            async with self._again():
                return await function(*arguments, **keywords)

        return cast("F", accompanied)

    async def _run(self) -> None:
        import asyncio

        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._over.wait()
            except TimeoutError:
                await self._push()
            else:
                return

    async def _push(self) -> None:
        try:
            await self._gateway.pushadd(*self._what)
        except Exception as error:  # of a collector, or of a user's handler, it may be any
            self._tell(error)


def _refuse_generators(function: Callable[..., Any]) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function} is a generator; enter this in its body")
