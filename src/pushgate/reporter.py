"""Reporting a run's start and end: the one place where a failed push is swallowed.

Enters: a JobRun and its Outcome. Leaves: POSTs of the vocabulary's families; never an exception,
whatever the gateway or the user's handler does, because monitoring must not change a job's fate.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .vocabulary import end_families, start_families

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .families import Family
    from .gateway import Gateway
    from .runs import JobRun, Outcome

__all__ = ("Reporter",)

_log = logging.getLogger("pushgate")


class Reporter:
    """Reports to one gateway. ``timeout`` bounds each report with its retries, in seconds."""

    def __init__(self, gateway: Gateway, *, timeout: float = 10.0) -> None:
        self._gateway = gateway
        self._timeout = timeout

    def started(self, run: JobRun, *, timeout: float | None = None) -> Exception | None:
        """Report that ``run`` has started. Returns what kept it from arriving, after logging it."""
        return self._report(run, start_families(run), timeout)

    def finished(
        self, run: JobRun, outcome: Outcome, *, timeout: float | None = None
    ) -> Exception | None:
        """Report how ``run`` ended. Returns what kept it from arriving, after logging it."""
        return self._report(run, end_families(run, outcome), timeout)

    def _report(
        self, run: JobRun, families: Sequence[Family], timeout: float | None
    ) -> Exception | None:
        try:
            self._gateway.pushadd(run.key, families, timeout=timeout or self._timeout)
        except Exception as error:
            _log.warning("the push for %s was not delivered: %s", run.key, error)
            return error
        return None
