"""What the gateway itself tells of its groups, in PromQL, whatever they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.health import STALE_AFTER, STALE_INTERVALS
from ..jobs.vocabulary import EXPECTED_INTERVAL, GROUP_EXPIRY, PAUSED_UNTIL
from .series_selector import number

if TYPE_CHECKING:
    from .series_selector import Series

# Not the own metrics of a job, which it may have in one run and not in the next.
_PUSHED = 'origin!="job"'
# A gateway that started within this time may have forgotten its groups. They are compared with
# those of so long ago, or of a day ago where the gateway was down then.
_JUST_STARTED, _BEFORE, _BEFORE_AN_OUTAGE = 3600, "1h", "1d"


def push_failing(series: Series) -> str:
    """Seconds since the gateway refused the group's last push."""
    failure, push = series.of("push_failure_time_seconds"), series.of("push_time_seconds")
    return f"time() - ({failure} > {push})"


def stale(series: Series, after: float = STALE_AFTER) -> str:
    """Seconds since the last push, refused or not, or the end of a pause, of a stale group."""
    pushes = ("push_time_seconds", "push_failure_time_seconds")
    push = series.highest(*pushes, PAUSED_UNTIL, matcher=_PUSHED)
    interval = series.of(EXPECTED_INTERVAL)
    expiry = series.of(GROUP_EXPIRY)
    return (
        f"time() - {push} > {number(after)}\n"
        f"  unless time() - {push} <= {number(STALE_INTERVALS)} * {interval}\n"
        f"  unless {expiry} > time()"
    )


def disappeared(series: Series, share: float) -> str:
    """The share of the groups that a gateway held before it started, within an hour of that."""
    known = f"count by (gateway) {_known_before(series)}"
    return f"count by (gateway) (\n  {lost(series)}\n)\n/ {known} > {number(share)}"


def lost(series: Series) -> str:
    """The groups that a gateway held before it started, and lacks now: when they were pushed."""
    now = series._replace(window="").of("push_time_seconds")
    started = series.of_gateway("process_start_time_seconds")
    return (
        f"{_known_before(series)}\n  unless {now}\n"
        f"  and on (gateway) time() - {started} < {_JUST_STARTED}"
    )


def _known_before(series: Series) -> str:
    before, long_before = (
        series.at("push_time_seconds", ago) for ago in (_BEFORE, _BEFORE_AN_OUTAGE)
    )
    return f"({before} or ({long_before} unless on (gateway) {before}))"
