"""Jobs that are Python code: `with job("backup") as run:` and `@job("backup")`.

The result and the exceptions of the code stay unchanged. No signal handler is installed, and any
thread may use it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pushgate import Outcome, OwnMetrics, Status
from pushgate_subprocess._child_end import end_time
from pushgate_subprocess._run_options import run_options
from pushgate_subprocess._run_report import KEEP_SECONDS, RunReport, log_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pushgate import Background, Gateway
    from pushgate_subprocess._run_options import RunOptions

F = TypeVar("F", bound="Callable[..., Any]")

# Which runs this thread or task has entered and not left, the innermost last. A context variable,
# because one job may be entered by many tasks of one thread in any order.
_entered: ContextVar[tuple[tuple[job, JobInProgress], ...]] = ContextVar("_entered", default=())


class JobInProgress(OwnMetrics):
    """A run that is going on. Its metrics are pushed when it ends, replacing the last run's."""

    def __init__(self, options: RunOptions, background: Background | None) -> None:
        super().__init__()
        self._process = os.getpid()
        self._clock, self._started_at = time.monotonic(), time.time()
        self._report = RunReport(
            options,
            started_at=self._started_at,
            own_metrics=lambda _key, _complain: self.collect(),
            write=log_writer(options.job),
            background=background,
        )
        self._report.begin()

    def _outcome(self, error: BaseException | None) -> Outcome | None:
        """What the body counts as that has ended, by ``error`` or well.

        None in a fork of the process that entered the body: the run is not its own.
        """
        if os.getpid() != self._process:
            return None
        succeeded = error is None or (isinstance(error, SystemExit) and not error.code)
        duration = time.monotonic() - self._clock
        return Outcome(
            Status.SUCCESS if succeeded else Status.FAILURE,
            ended_at=end_time(self._started_at, duration),
            duration=duration,
            exception="" if error is None else type(error).__name__,
        )


class job:  # noqa: N801 - it reads as a keyword: with job("backup")
    """A job whose runs are reported: a context manager, also for ``async with``, and a decorator.

    ``name`` and ``group`` are its identity; ``gateway`` is a Gateway, a URL, or None for what the
    environment and the configuration file say. ``expect_every`` is the schedule's period, or a cron
    expression, ``heartbeat`` the time between empty pushes while it runs and ``push_timeout`` the
    longest that leaving waits for the push; each is in seconds, or text such as ``"24h"``. What is
    not delivered by then is kept in the outbox, which takes milliseconds; a disk that hangs, or a
    host that is so busy that pushgate is not loaded yet, is waited for 10 or 30 seconds.

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
        self._options = run_options(
            name,
            group,
            gateway,
            expect_every=expect_every,
            heartbeat=heartbeat,
            push_timeout=push_timeout,
            start_push=start_push,
        )
        self._open: list[JobInProgress] = []

    def __enter__(self) -> JobInProgress:
        return self._enter(None)

    def _enter(self, background: Background | None) -> JobInProgress:
        run = JobInProgress(self._options, background)
        self._open.append(run)
        _entered.set((*_entered.get(), (self, run)))
        return run

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self._left()
        if (outcome := run._outcome(error)) is not None:
            run._report.report_end(outcome)

    async def __aenter__(self) -> JobInProgress:
        if not _runs_in_asyncio():
            return self._enter(None)
        from pushgate import background_loop  # which imports asyncio

        return self._enter(background_loop(self._options.gateway))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not _runs_in_asyncio():
            self.__exit__(kind, error, traceback)
            return
        import asyncio

        loop = asyncio.get_running_loop()
        over, is_over = asyncio.Event(), threading.Event()

        def settled() -> None:
            is_over.set()
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(over.set)

        run = self._left()
        if (outcome := run._outcome(error)) is None:
            return
        report = run._report
        report.finish(lambda: outcome, settled)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._options.push_timeout)
        except GeneratorExit:  # the loop was closed: nothing can be awaited any more
            report.keep()
            is_over.wait(KEEP_SECONDS)
            raise
        finally:
            if not is_over.is_set():
                report.keep()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), KEEP_SECONDS)
            report.close()

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


def _runs_in_asyncio() -> bool:
    """Whether the coroutine's loop is asyncio's, and not another framework's."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
