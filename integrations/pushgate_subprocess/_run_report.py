"""Report one run in the background: its start, heartbeats, and its end.

No push delays the run: the caller decides how long to wait for the end's, and a thread that hangs
is left behind. All that is heavy is imported in the thread.
"""

from __future__ import annotations

import threading

from pushgate import Background, RateLimitedLogger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from pushgate import Outcome
    from pushgate_subprocess._publication import OwnMetricsReader, Publication
    from pushgate_subprocess._run_options import RunOptions

KEEP_SECONDS = 30.0
"""How long to wait, once the time for the push is over, until the end is kept in the outbox.

To keep takes milliseconds, or 10 seconds on a disk that hangs. The rest is for a host so busy
that pushgate itself is not loaded yet.
"""


class RunReport:
    """The report of one run that began at ``started_at`` (Unix seconds). Never raises into the run.

    ``own_metrics`` reads the job's own metrics once the run has ended. ``write`` takes lines for a
    person.

    Call ``begin``, ``finish``, ``keep`` where ``finish`` was not settled in time, and ``close``.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        own_metrics: OwnMetricsReader,
        write: Callable[[str], object],
        background: Background | None = None,
    ) -> None:
        self._background = background or Background()
        self._options = options
        self._started_at = started_at
        self._own_metrics = own_metrics
        self._log = RateLimitedLogger(write)
        self._judge: Callable[[], Outcome] | None = None
        self._settled: Callable[[], object] = lambda: None
        self._ended, self._over = self._background.event(), self._background.event()
        self._running: Any = None
        self._publication: Publication | None = None
        self._is_done = self._is_closed = False

    def begin(self) -> None:
        """The run has started. Returns at once."""
        self._running = self._background.start(self._report, "pushgate-run")
        if self._running is None:  # where no loop can run, threads may do
            self._background = Background()
            self._running = self._background.start(self._report, "pushgate-run")

    def finish(self, judge: Callable[[], Outcome], settled: Callable[[], object]) -> None:
        """The run has ended as ``judge()`` tells. Returns at once, where a thread can be had.

        ``settled`` is called in the thread once the end is delivered, kept or lost.
        """
        self._judge, self._settled = judge, settled
        self._ended.set()
        if self._running is None:  # the limit on threads was reached
            self.begin()
        if self._running is None:
            self._background.run(self._report)

    def keep(self) -> None:
        """The time is over: keep the end in the outbox, where it is not delivered.

        Returns at once. Wait for ``settled`` for at most KEEP_SECONDS.
        """
        self._over.set()

    def report_end(self, outcome: Outcome) -> None:
        """Report the end, and wait until that is settled or its time is over."""
        settled = threading.Event()
        try:
            self.finish(lambda: outcome, settled.set)
            settled.wait(self._options.push_timeout)
        finally:
            if not settled.is_set():
                self.keep()
                settled.wait(KEEP_SECONDS)
            self.close()

    def close(self) -> None:
        """Log nothing any more, and let go of what is not done. The last call; returns at once."""
        self._is_closed = True
        if not self._is_done:
            self._log.warning("gave up waiting: the outcome was neither pushed nor kept in time")
            self._let_go()
        self._log.silence()

    async def _report(self) -> None:
        await self._say_faults(self._accompany)
        await self._background.wait(self._ended)
        await self._say_faults(self._finish)  # which tries again what the start could not do
        self._let_go()
        self._is_done = True
        self._settled()

    async def _accompany(self) -> None:
        publication = self._publish()
        if not self._ended.is_set():
            publication.start()
        while not await self._background.wait(self._ended, self._options.heartbeat):
            publication.alive()

    async def _finish(self) -> None:
        publication = self._publication or self._publish()
        if self._judge is not None:
            publication.finish(self._judge(), self._over.set)
            await self._background.wait(self._over)
            publication.keep()

    async def _say_faults(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except (TypeError, ValueError) as error:  # a grouping key that no gateway takes
            self._log.warning(f"the push failed: {error}")
        except Exception as error:
            self._log.warning(f"a fault in pushgate, please report it: {error!r}")

    def _let_go(self) -> None:
        if self._publication is not None:
            self._publication.close()

    def _publish(self) -> Publication:
        from pushgate_subprocess._publication import Publication

        self._publication = Publication(
            self._options,
            started_at=self._started_at,
            own_metrics=self._own_metrics,
            log=self._log,
            background=self._background,
        )
        if self._is_closed:
            self._publication.close()
        return self._publication


def log_writer(job: str) -> Callable[[str], None]:
    """What writes a line about ``job`` as a warning of the logger ``pushgate``."""

    def write(line: str) -> None:
        import logging

        logging.getLogger("pushgate").warning("%s: %s", job, line)

    return write
