"""Reports to a gateway now, beside the job, within a deadline."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import may_arrive_later
from ..log import RateLimitedLogger
from ..protocol.text import encode
from ..transport.background import THREADS
from ..transport.deadline import Deadline
from ..transport.made_once import MadeOnce
from .attempt import Attempt, keep_report, push_report
from .report import deadline_report, end_reports, heartbeat_report, start_report

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from ..gateway.client import Gateway
    from ..gateway.core import GatewayCore
    from ..jobs.runs import JobRun, Outcome
    from ..protocol.grouping_key import GroupingKey
    from ..transport.background import Background, Running
    from .report import Own, Report

_FOR_THE_START = 0.1  # of the end's time: a start that takes longer hangs, as the end would
_MOST_FOR_A_START = 10.0  # seconds, and for a heartbeat: then it waits, or the next one follows


class DirectSink:
    """Pushes to one gateway in the background of the job, and leaves it behind when time is over.

    ``gateway`` is a Gateway, or is called for one in a thread, since looking it up may take long;
    where it returns None, nothing is pushed. ``timeout`` bounds the wait for an end, in seconds.
    What is not delivered by then is kept in the gateway's outbox, which takes milliseconds;
    ``keep_timeout`` more seconds are waited where it takes longer, as on a busy disk.
    ``log`` takes the lines of what fails; without it they go to the logger ``pushgate``.
    ``background`` is threads, or a :func:`background_loop` for the jobs of an asyncio program.

    No method raises. Where no thread can be started, a start is left to its end, which carries it
    too, and an end is pushed in the caller's thread. Safe to share between threads and over a fork.
    """

    def __init__(
        self,
        gateway: Gateway | Callable[[], Gateway | None],
        *,
        timeout: float = 10.0,
        keep_timeout: float = 10.0,
        log: RateLimitedLogger | None = None,
        background: Background = THREADS,
    ) -> None:
        self.last_error: BaseException | None = None
        """What kept the last end from arriving; its ``kept`` says whether it waits."""
        self._background = background

        def core() -> GatewayCore | None:
            made = gateway() if callable(gateway) else gateway
            return None if made is None else background.core(made)

        self._gateway = MadeOnce(core)
        self._timeout = timeout
        self._short_timeout = min(timeout, _MOST_FOR_A_START)
        self._keep_timeout = keep_timeout
        self._log = log or RateLimitedLogger()
        self._starts: dict[GroupingKey, _Start] = {}
        self._attempts: list[Attempt] = []
        self._heartbeat: Running | None = None

    def started(self, run: JobRun) -> None:
        """Push that ``run`` has started. A failure is not logged: the end tells the start again."""
        start = self._starts[run.key] = _Start(run)
        start.running = self._background.start(lambda: self._push_start(start), "pushgate-start")

    def alive(self, run: JobRun) -> None:
        """Push that ``run`` goes on, unless the push before is still under way."""

        async def push() -> None:
            with suppress(BaseException):  # the end tells
                gateway = self._gateway()
                if gateway is not None:
                    await push_report(gateway, heartbeat_report(run), Deadline(self._short_timeout))

        if self._heartbeat is None or not self._heartbeat.is_alive():
            self._heartbeat = self._background.start(push, "pushgate-heartbeat")

    def missed_deadline(self, run: JobRun, at: float) -> None:
        """Push that ``run`` had not ended at ``at``, in Unix seconds. Waits as for an end."""
        self.deliver(
            lambda: [deadline_report(run, at)], f"the push of a missed deadline for {run.key}"
        )

    def deliver(self, reports: Callable[[], Iterable[Report]], what: str) -> None:
        """Push ``reports()``, which is called in the thread. Waits and keeps as for an end.

        ``what`` is their name in log lines. Where the first one waits, the others wait too.
        """
        self._await(Attempt(self._background, self._gateway, reports, what=what, log=self._log))

    def finished(self, run: JobRun, outcome: Outcome, own: Own = None) -> None:
        """Push how ``run`` ended, and the job's own metrics. Returns once that is settled."""
        start = self._end_start(run)
        self._await(self._end_of(run, outcome, own, None), start)

    def finish(
        self,
        run: JobRun,
        outcome: Outcome,
        own: Own = None,
        *,
        settled: Callable[[], object] | None = None,
    ) -> None:
        """As :meth:`finished`, but return at once; call :meth:`close` when the time is over.

        ``settled`` is called from the thread once all is delivered, kept or lost.
        """
        start = self._end_start(run)
        attempt = self._end_of(run, outcome, own, settled)
        self._attempts.append(attempt)
        attempt.begin(self._timeout, after=start)

    def close(self) -> None:
        """Keep what :meth:`finish` has begun and is not settled; nothing is logged afterwards.

        A start is no longer tried.
        """
        for start in self._starts.values():
            start.is_stopped = True
        while self._attempts:
            self._close(self._attempts.pop())

    def _end_of(
        self, run: JobRun, outcome: Outcome, own: Own, settled: Callable[[], object] | None
    ) -> Attempt:
        once = MadeOnce(own) if callable(own) else own  # it may be asked for by two threads
        return Attempt(
            self._background,
            self._gateway,
            lambda: end_reports(run, outcome, once),
            what=f"the push for {run.key}",
            what_else="" if own is None else f"the push of the job's own metrics for {run.key}",
            log=self._log,
            settled=settled,
        )

    def _await(
        self, attempt: Attempt, after: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        try:
            attempt.begin(self._timeout, after=after)
            attempt.wait(self._timeout)
        finally:
            self._close(attempt)

    def _close(self, attempt: Attempt) -> None:
        attempt.close(self._keep_timeout)
        self.last_error = attempt.error

    def _end_start(self, run: JobRun) -> Callable[[], Coroutine[Any, Any, None]]:
        """The end of ``run`` begins. Returns what waits a little for its start and heartbeat."""
        start = self._starts.pop(run.key, None)
        before = [self._heartbeat]  # it may deliver what waits, which no two can do at once
        if start is not None:
            start.has_ended = True
            before.append(start.running)

        async def wait() -> None:
            for running in filter(None, before):
                await self._background.join(running, self._timeout * _FOR_THE_START)

        return wait

    async def _push_start(self, start: _Start) -> None:
        try:
            gateway = self._gateway()
            if gateway is None:
                return
            report = start_report(start.run)
            text = encode(report.families, report.key).text
            try:
                # Past the outbox: to compare and deliver what waits there for this job may take
                # seconds, while which no other thread can push the end.
                await gateway.send_directly(
                    "POST",
                    report.key,
                    text,
                    timeout=self._short_timeout,
                    before_each_try=start.go_on,
                )
            except Exception as error:
                if may_arrive_later(error) and not start.has_ended:
                    keep_report(gateway, report)
                raise
        except BaseException as error:
            if not start.has_ended:
                self.last_error = error


class _Start:
    """A start whose push is under way, or was."""

    def __init__(self, run: JobRun) -> None:
        self.run = run
        self.running: Running | None = None
        self.has_ended = False  # then the end tells the start
        self.is_stopped = False

    def go_on(self) -> None:
        """Raise InterruptedError where it is no more to be tried."""
        if self.has_ended or self.is_stopped:
            raise InterruptedError("the end of the run came before its start was pushed")
