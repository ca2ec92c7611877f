"""What an adapter hands its runs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..jobs.runs import JobRun, Outcome
    from .report import Own


class Sink(Protocol):
    """Takes what happens to runs. No method raises: what fails is logged."""

    def started(self, run: JobRun) -> None:
        """``run`` has started."""

    def finished(self, run: JobRun, outcome: Outcome, own: Own = None) -> None:
        """``run`` has ended. ``own`` are the job's own metrics, or is called for them.

        With samples they replace those of the run before, without any a success deletes those.
        None leaves those alone.
        """

    def alive(self, run: JobRun) -> None:
        """``run`` goes on."""

    def missed_deadline(self, run: JobRun, at: float) -> None:
        """``run`` had not ended at ``at``, in Unix seconds."""

    def close(self) -> None:
        """The process ends: settle or keep what was handed over. May be called again."""
