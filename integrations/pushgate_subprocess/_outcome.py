"""What the end of a command counts as. An Ended and RunOptions enter; an Outcome leaves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushgate import CommandEnd, Outcome, Status

if TYPE_CHECKING:
    from pushgate_subprocess._ended import Ended
    from pushgate_subprocess._options import RunOptions

__all__ = ("outcome_of",)


def outcome_of(ended: Ended, options: RunOptions) -> Outcome:
    """What ``ended`` counts as."""
    used = ended.resources
    return Outcome(
        status=Status.SUCCESS if options.counts_as_success(ended) else Status.FAILURE,
        ended_at=ended.ended_at,
        duration=ended.duration,
        command=CommandEnd(
            exit_code=ended.exit_status,
            signal=ended.signal or 0,
            timed_out=ended.timed_out,
            cpu_seconds={"user": used.user_seconds, "system": used.system_seconds},
            max_rss_bytes=used.max_rss_bytes,
            io_blocks={"read": used.blocks_in, "write": used.blocks_out},
            context_switches={
                "voluntary": used.voluntary_switches,
                "involuntary": used.involuntary_switches,
            },
        ),
    )
