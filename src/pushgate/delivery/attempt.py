"""One try to deliver reports; what is not delivered in time is kept in the gateway's outbox."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..errors import PushError, concerns_one_group
from ..log import RateLimitedLogger
from ..protocol.text import encode
from ..transport.background import in_background
from ..transport.deadline import Deadline
from .messages import WAITS, failure, one_line, was_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from ..gateway.core import GatewayCore
    from ..transport.background import Background
    from ..transport.made_once import MadeOnce
    from .report import Report

# Of the time: for saying why it failed, and for what follows the first report, at most so many
# seconds: reading the job's own metrics, and keeping.
_FOR_SAYING = 0.05
_FOR_THE_REST, _MOST = 0.25, 1.0
_LONGEST_WAIT = 1.0  # seconds, for another thread that writes a log line


class Attempt:
    """Delivers what ``reports()`` yields, to ``gateway()``, in the background.

    ``what`` names the first report for log lines, ``what_else`` the others. Where the first one
    waits in the outbox, the others wait too. ``settled`` is called once, from the thread, when
    each report is delivered, kept or lost.

    ``reports`` is called twice where :meth:`close` finds the thread still at work.
    """

    def __init__(
        self,
        background: Background,
        gateway: MadeOnce[GatewayCore | None],
        reports: Callable[[], Iterable[Report]],
        *,
        what: str,
        what_else: str = "",
        log: RateLimitedLogger,
        settled: Callable[[], object] | None = None,
    ) -> None:
        self.error: BaseException | None = None
        """What kept reports from arriving; what is lost goes before what waits."""
        self._background = background
        self._gateway = gateway
        self._reports = reports
        self._what = what
        self._what_else = what_else
        self._log = RateLimitedLogger(log.warning, interval=0.0)
        self._settled = settled
        self._settled_count = 0
        self._over = threading.Event()
        self._telling = threading.Lock()
        self._kept = ""

    def begin(
        self, timeout: float, *, after: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        """Deliver, within ``timeout`` seconds, once ``after()`` has returned.

        Returns at once; where no thread can be started, when all is settled.
        """
        deadline = Deadline(timeout * (1 - _FOR_SAYING))

        async def run() -> None:
            try:
                if after is not None:
                    await after()
                await self._deliver(deadline)
            except BaseException as error:  # a user's handler may raise anything
                self._failed(error)
                if _interrupts(error):
                    raise
            finally:
                self._over.set()
                if self._settled is not None:
                    self._settled()

        if self._background.start(run, "pushgate-delivery") is None:
            self._background.run(run)

    def wait(self, timeout: float) -> None:
        """Return once all is settled, or after ``timeout`` seconds."""
        self._over.wait(timeout)

    def close(self, keep_timeout: float) -> None:
        """Keep what is not settled, within ``keep_timeout`` seconds, and log nothing from then on.

        The thread may hang in the look-up of the gateway, in a push, or in the job's own metrics.
        """
        if not self._over.is_set():
            self._kept = f"it could not be kept within {keep_timeout:.3g} s"
            keeper = in_background(self._keep_rest, "pushgate-keep")
            if keeper is None:
                self._keep_rest()
            else:
                keeper.join(keep_timeout)
        last_words = None
        is_ours = self._telling.acquire(timeout=_LONGEST_WAIT)
        if not self._over.is_set():
            given_up = f"gave up waiting for {self._subject()}"
            if self.error is None or self._kept != WAITS:  # else its line has said so
                last_words = "; ".join(filter(None, (given_up, self._kept)))
            self.error = self.error or TimeoutError(given_up)
        self._log.silence(last_words)
        if is_ours:
            self._telling.release()

    async def _deliver(self, deadline: Deadline) -> None:
        gateway = self._gateway()
        if gateway is None:
            return
        waits = False
        for report in self._reports():
            try:
                if waits:
                    if not keep_report(gateway, report):
                        raise PushError("the outbox could keep the outcome only")
                elif self._what_else and not self._settled_count:
                    await push_report(gateway, report, deadline.reserving(_FOR_THE_REST, _MOST))
                else:
                    await push_report(gateway, report, deadline)
            except Exception as error:
                self._failed(error)
                waits = was_kept(error)
                if not waits and not concerns_one_group(error):
                    return  # the gateway is away, and there is no outbox
            self._settled_count += 1

    def _failed(self, error: BaseException) -> None:
        with self._telling:
            if self.error is None or (was_kept(self.error) and not was_kept(error)):
                self.error = error
            self._log.warning(failure(self._subject(), error))

    def _subject(self) -> str:
        return self._what_else if self._what_else and self._settled_count else self._what

    def _keep_rest(self) -> None:
        """Keep what :meth:`_deliver`, in its thread, is not done with."""
        try:
            gateway = self._gateway()
            kept = []
            if gateway is not None:
                for number, report in enumerate(self._reports()):
                    if number >= self._settled_count and not self._over.is_set():
                        kept.append(keep_report(gateway, report))
            self._kept = WAITS if kept and all(kept) else ""
        except BaseException as error:
            self._kept = one_line(repr(error))
            if _interrupts(error):
                raise


async def push_report(gateway: GatewayCore, report: Report, deadline: Deadline) -> None:
    """Send it, by the outbox if ``gateway`` has one. Raises what kept it from arriving."""
    timeout = deadline.left()
    if report.method == "DELETE":
        await gateway.delete(report.key, timeout=timeout)
    elif report.method == "PUT":
        await gateway.push(report.key, report.families, timeout=timeout)
    else:
        await gateway.pushadd(report.key, report.families, timeout=timeout)


def keep_report(gateway: GatewayCore, report: Report) -> bool:
    """Whether it waits in the gateway's outbox now, without a try to deliver it.

    Raises InvalidPayloadError.
    """
    if gateway.outbox is None:
        return False
    text = encode(report.families, report.key, utf8_names=gateway.utf8_names).text
    return gateway.outbox.keep(gateway.url, [(report.method, report.key, text, report.at)])


def _interrupts(error: BaseException) -> bool:
    """Whether it is the user's Ctrl-C, which only the main thread gets."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
    )
