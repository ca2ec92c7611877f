"""What the user asked of a run, as one frozen value with the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate_subprocess._lean import signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pushgate_subprocess._ended import Ended

__all__ = ("RunOptions",)


class RunOptions(NamedTuple):
    """Options of one run; durations in seconds.

    ``job`` and ``groups`` are the grouping key, ``settings`` the gateway's settings as flags. The
    rest is spelled out in ``pushgate run --help``, under the same names.
    """

    job: str
    groups: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}
    # the command
    timeout: float | None = None
    kill_after: float = 10.0
    signal: int = signal.SIGTERM
    preserve_status: bool = False
    # what counts as success
    success_codes: frozenset[int] = frozenset({0})
    min_duration: float = 0.0
    # overlap
    lock: str | None = None
    lock_wait: float = 0.0
    on_locked: str = "skip"
    # what is published
    expect_every: float | None = None
    heartbeat: float | None = None
    start_push: bool = True
    push_timeout: float = 10.0
    dry_run: bool = False
    textfile: str | None = None
    # output
    quiet_on_success: bool = False
    tail_bytes: int | None = None
    verbosity: int = 0

    def counts_as_success(self, ended: Ended) -> bool:
        """Whether a command that ended so has succeeded."""
        return (
            not ended.timed_out
            and ended.signal is None
            and ended.exit_status in self.success_codes
            and ended.duration >= self.min_duration
        )
