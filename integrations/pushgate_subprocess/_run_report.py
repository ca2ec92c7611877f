"""Report one run in threads beside it: its start, heartbeats, and its end.

No push delays the run: the caller decides how long to wait for the end's, and a thread that hangs
is left behind. What publishes the run is made in a thread too: that imports all that is heavy.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pushgate import RateLimitedLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import Gateway, Outcome
    from pushgate_subprocess._publication import OwnMetricsReader, Publication
    from pushgate_subprocess._run_options import RunOptions

__all__ = ("KEEP_SECONDS", "RunReport", "log_writer")

KEEP_SECONDS = 30.0
"""How long to wait, once the time for the push is over, until the end is kept in the outbox.

To keep takes milliseconds, or 10 seconds on a disk that hangs. The rest is for a host so busy
that pushgate itself is not loaded yet.
"""


class RunReport:
    """The report of one run that began at ``started_at`` (Unix seconds). Never raises into the run.

    ``own_metrics`` reads the job's own metrics once the run has ended. ``write`` takes lines for a
    person. ``gateway`` is the caller's own; None is for the one of the options' settings.

    Call ``begin``, ``finish``, ``keep`` where ``finish`` was not settled in time, and ``close``.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        own_metrics: OwnMetricsReader,
        write: Callable[[str], object],
        gateway: Gateway | None = None,
    ) -> None:
        self._options = options
        self._started_at = started_at
        self._own_metrics = own_metrics
        self._gateway = gateway
        self._log = RateLimitedLogger(write)
        self._judge: Callable[[], Outcome] | None = None
        self._ended = threading.Event()
        self._making, self._noting = threading.Lock(), threading.Lock()
        self._publication: Publication | None = None
        self._is_settled = self._is_kept = self._is_closed = self._has_fault = False

    def begin(self) -> None:
        """The run has started. Returns at once."""
        _in_background(self._accompany, "pushgate-run")

    def finish(self, judge: Callable[[], Outcome], settled: Callable[[], object]) -> None:
        """The run has ended as ``judge()`` tells. Returns at once.

        ``settled`` is called in a thread once the end is delivered, kept or lost.
        """
        self._judge = judge
        self._ended.set()

        def note() -> None:
            self._is_settled = True
            settled()

        def run() -> None:
            try:
                self._made().finish(judge(), note)
            except Exception as error:
                self._note_fault(error)
                note()

        if not _in_background(run, "pushgate-end"):
            run()

    def keep(self, settled: Callable[[], object]) -> None:
        """The time is over: keep the end in the outbox, where it is not delivered. Returns at once.

        Wait for ``settled`` for at most KEEP_SECONDS.
        """

        def run() -> None:
            try:
                publication = self._made()
                if self._judge is not None:
                    publication.finish(self._judge(), settled)
                publication.keep()
                self._is_kept = True
            except Exception as error:
                self._note_fault(error)
            settled()

        if not _in_background(run, "pushgate-keep"):
            run()

    def report_end(self, outcome: Outcome) -> None:
        """Report the end, and wait until that is settled or its time is over."""
        over = threading.Event()
        try:
            self.finish(lambda: outcome, over.set)
            over.wait(self._options.push_timeout)
        finally:
            if not over.is_set():
                self.keep(over.set)
                over.wait(KEEP_SECONDS)
            self.close()

    def close(self) -> None:
        """Let the run's state go, and log nothing any more. The last call; returns at once."""
        self._is_closed = True
        publication = self._publication
        if publication is not None and self._is_settled:
            publication.keep()
        elif not (self._is_kept or self._has_fault):
            self._log.warning("gave up waiting: the outcome was neither pushed nor kept in time")
        if publication is not None:
            publication.close()
        self._log.silence()

    def _made(self) -> Publication:
        """What publishes the run, made by the first thread that asks."""
        with self._making:
            if self._publication is None:
                from pushgate_subprocess._publication import Publication

                made = Publication(
                    self._options,
                    started_at=self._started_at,
                    own_metrics=self._own_metrics,
                    log=self._log,
                    gateway=self._gateway,
                )
                if self._is_closed:
                    made.close()
                self._publication = made
            return self._publication

    def _accompany(self) -> None:
        heartbeat = self._options.heartbeat
        try:
            publication = self._made()
            if not self._ended.is_set():
                publication.start()
            while heartbeat is not None and not self._ended.wait(heartbeat):
                publication.alive()
        except Exception as error:
            self._note_fault(error)

    def _note_fault(self, error: Exception) -> None:
        """Say what nothing here should raise, once: the end tries again what the start did."""
        with self._noting:
            if not self._has_fault:
                self._log.warning(f"a fault in pushgate, please report it: {error!r}")
            self._has_fault = True


def log_writer(job: str) -> Callable[[str], None]:
    """What writes a line about ``job`` as a warning of the logger ``pushgate``."""

    def write(line: str) -> None:
        import logging

        logging.getLogger("pushgate").warning("%s: %s", job, line)

    return write


def _in_background(target: Callable[[], None], name: str) -> bool:
    """Run it in a daemon thread; false where the limit on threads is reached."""
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True
