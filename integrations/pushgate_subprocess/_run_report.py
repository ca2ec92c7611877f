"""Report one run in a thread beside it: its start, heartbeats, and its end.

No push delays the run: the caller decides how long to wait for the end's, and a thread that hangs
is left behind. All that is heavy is imported in the thread.
"""

from __future__ import annotations

import threading

from pushgate import RateLimitedLogger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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
    ) -> None:
        self._options = options
        self._started_at = started_at
        self._own_metrics = own_metrics
        self._log = RateLimitedLogger(write)
        self._judge: Callable[[], Outcome] | None = None
        self._settled: Callable[[], object] = lambda: None
        self._ended, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._publication: Publication | None = None
        self._is_done = self._is_closed = False

    def begin(self) -> None:
        """The run has started. Returns at once."""
        thread = threading.Thread(target=self._report, name="pushgate-run", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the limit on threads is reached
            return
        self._thread = thread

    def finish(self, judge: Callable[[], Outcome], settled: Callable[[], object]) -> None:
        """The run has ended as ``judge()`` tells. Returns at once, where a thread can be had.

        ``settled`` is called in the thread once the end is delivered, kept or lost.
        """
        self._judge, self._settled = judge, settled
        self._ended.set()
        if self._thread is None:
            self.begin()
        if self._thread is None:
            self._report()

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
        """Let the run's state go, and log nothing any more. The last call; returns at once."""
        self._is_closed = True
        if not self._is_done:
            self._log.warning("gave up waiting: the outcome was neither pushed nor kept in time")
        if self._publication is not None:
            self._publication.close()
        self._log.silence()

    def _report(self) -> None:
        self._say_faults(self._accompany)
        self._ended.wait()
        self._say_faults(self._finish)  # which tries again what the start could not do
        self._is_done = True
        self._settled()

    def _accompany(self) -> None:
        publication = self._publish()
        if not self._ended.is_set():
            publication.start()
        while not self._ended.wait(self._options.heartbeat):
            publication.alive()

    def _finish(self) -> None:
        publication = self._publication or self._publish()
        if self._judge is not None:
            publication.finish(self._judge(), self._over.set)
            self._over.wait()
            publication.keep()

    def _say_faults(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (TypeError, ValueError) as error:  # a grouping key that no gateway takes
            self._log.warning(f"the push failed: {error}")
        except Exception as error:
            self._log.warning(f"a fault in pushgate, please report it: {error!r}")

    def _publish(self) -> Publication:
        from pushgate_subprocess._publication import Publication

        self._publication = Publication(
            self._options,
            started_at=self._started_at,
            own_metrics=self._own_metrics,
            log=self._log,
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
