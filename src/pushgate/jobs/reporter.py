"""Reporting a run's start and end: the one place where a failed push is swallowed.

Enters: a JobRun and its Outcome. Leaves: POSTs of the vocabulary's families; never an exception,
whatever the gateway or the user's handler does, because monitoring must not change a job's fate.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .vocabulary import deadline_families, end_families, start_families

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..gateway.client import Gateway
    from ..protocol.families import Family
    from .runs import JobRun, Outcome

__all__ = ("Reporter",)


def _log(run: JobRun, error: Exception) -> None:
    import logging  # 8 ms, which a wrapper of short commands would pay each time

    kept = "; it waits in the outbox and will be delivered later" if _is_kept(error) else ""
    logging.getLogger("pushgate").warning("the push for %s failed: %s%s", run.key, error, kept)


def _is_kept(error: Exception) -> bool:
    return bool(getattr(error, "kept", False))


class Reporter:
    """Reports to one gateway.

    ``timeout`` bounds each report with its retries, in seconds; None leaves that to the gateway.

    ``on_error`` is called with what kept a report from arriving, whose ``kept`` says whether it
    waits in the gateway's outbox; by default it is logged as a warning of the logger ``pushgate``.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        timeout: float | None = None,
        on_error: Callable[[JobRun, Exception], None] = _log,
    ) -> None:
        self._gateway = gateway
        self._timeout = timeout
        self._on_error = on_error

    def started(self, run: JobRun, *, timeout: float | None = None) -> Exception | None:
        """Report that ``run`` has started. Returns what kept it from arriving, or None."""
        return self._report(run, lambda: start_families(run), timeout)

    def finished(
        self, run: JobRun, outcome: Outcome, *, timeout: float | None = None
    ) -> Exception | None:
        """Report how ``run`` ended. Returns what kept it from arriving, or None."""
        return self._report(run, lambda: end_families(run, outcome), timeout)

    def missed_deadline(
        self, run: JobRun, deadline: float, *, timeout: float | None = None
    ) -> Exception | None:
        """Report that ``run`` had not ended at ``deadline``, in Unix seconds."""
        return self._report(run, lambda: deadline_families(deadline), timeout)

    def alive(self, run: JobRun, *, timeout: float | None = None) -> Exception | None:
        """Report that ``run`` goes on: an empty POST, which only moves ``push_time_seconds``."""
        return self._report(run, tuple, timeout)

    def _report(
        self, run: JobRun, families: Callable[[], Sequence[Family]], timeout: float | None
    ) -> Exception | None:
        try:
            self._gateway.pushadd(run.key, families(), timeout=timeout or self._timeout)
        except Exception as error:
            with suppress(Exception):  # a broken on_error, logging filter or __str__
                self._on_error(run, error)
            return error
        return None
