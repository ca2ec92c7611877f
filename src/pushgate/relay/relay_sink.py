"""Reports of runs from many processes to one pusher process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..log import RateLimitedLogger
from ..protocol.families import families_of
from .run_aggregator import family_fields, outcome_fields, run_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..delivery.report import Own
    from ..jobs.runs import JobRun, Outcome
    from .inline_relay import InlineRelay
    from .relay import Relay


class RelaySink:
    """Writes reports to ``relay``, which was made with the aggregator :attr:`AGGREGATOR`.

    Each method takes microseconds, and none raises. A record has 4096 bytes at most: own metrics
    that take more are dropped, and logged; the outcome goes before them. ``log`` takes the lines of
    what fails; without it they go to the logger ``pushgate``.
    """

    AGGREGATOR = "pushgate.relay.run_aggregator:create"

    def __init__(self, relay: Relay | InlineRelay, *, log: RateLimitedLogger | None = None) -> None:
        self._relay = relay
        self._log = log or RateLimitedLogger()

    def started(self, run: JobRun) -> None:
        """``run`` has started."""
        self._write(lambda: ["started", run_fields(run)])

    def finished(self, run: JobRun, outcome: Outcome, own: Own = None) -> None:
        """``run`` has ended. ``own`` is as a Sink's, and is called here."""
        self._write(lambda: ["finished", run_fields(run), outcome_fields(outcome)])
        if own is not None:
            self._write(lambda: self._own(run, outcome, own))

    def alive(self, run: JobRun) -> None:
        """``run`` goes on."""
        self._write(lambda: ["alive", run_fields(run)])

    def missed_deadline(self, run: JobRun, at: float) -> None:
        """``run`` had not ended at ``at``, in Unix seconds."""
        self._write(lambda: ["missed_deadline", run_fields(run), at])

    def _own(self, run: JobRun, outcome: Outcome, own: Own) -> list[object] | None:
        metrics = own() if callable(own) else own
        if metrics is None:
            return None
        families = [family_fields(family) for family in families_of(metrics)]
        return ["own", run_fields(run), outcome_fields(outcome), families]

    def _write(self, record: Callable[[], list[object] | None]) -> None:
        try:
            fields = record()
            if fields is not None:
                self._relay.write(fields)
        except Exception as error:
            self._log.warning(f"a report was dropped: {error!r}", subject=type(error).__name__)
