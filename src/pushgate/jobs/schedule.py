"""When the next run is due by a job's schedule: a period, or a cron expression.

The time that a run's start tells is the gateway's to show: a verdict needs no state of the host.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from .runs import JobRun

_CRON_FIELDS = 5
_NICKNAMES = {  # crontab(5)
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EARLY = 30.0  # seconds that a run may start before its time: hosts' clocks differ


def with_schedule(
    run: JobRun, schedule: float | str | None, complain: Callable[[str], object]
) -> JobRun:
    """``run`` with the period of its schedule and, by a cron expression, the time of the next run.

    ``schedule`` is in seconds, or a cron expression with or without a time zone, such as
    ``0 9-17 * * mon-fri Europe/Berlin`` or ``@daily``; without one, the host's. Needs the extra
    ``cli`` for that.
    Raises nothing: what is wrong with it is told to ``complain``, and the run has no schedule.
    """
    if schedule is None:
        return run._replace(expected_interval=None)
    try:
        if isinstance(schedule, (int, float)):
            if not 0 < schedule < math.inf:
                raise ValueError("give seconds, more than 0")
            return run._replace(expected_interval=schedule)
        if not isinstance(schedule, str):
            raise ValueError("give seconds, or a cron expression")
        before, after = _around(schedule, run.started_at or 0.0)
    except (ValueError, MissingExtraError) as error:
        complain(f"the schedule {schedule!r} is not published: {error}")
        return run
    return run._replace(expected_interval=after - before, next_run_at=after)


def _around(schedule: str, started_at: float) -> tuple[float, float]:
    """The time of the run that started then, and of the next, both in Unix seconds."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise MissingExtraError("a cron expression needs cronsim", extra="cli") from None
    from datetime import datetime

    words = [w for word in schedule.split() for w in _NICKNAMES.get(word, word).split()]
    expression, zone = " ".join(words[:_CRON_FIELDS]), " ".join(words[_CRON_FIELDS:])
    start = datetime.fromtimestamp(started_at + _EARLY, _zone(zone) if zone else None)
    try:
        later = CronSim(expression, start)
        before, after = next(CronSim(expression, start, reverse=True)), next(later)
        while after.timestamp() <= start.timestamp():  # in the first of the hour that comes twice
            before, after = after, next(later)
    except CronSimError as error:
        raise ValueError(
            f"{str(error)[:1].lower()}{str(error)[1:]}; write MINUTE HOUR DAY MONTH WEEKDAY, such"
            " as '0 9-17 * * mon-fri'"
        ) from None
    except StopIteration:
        raise ValueError("there is no such time") from None
    return before.timestamp(), after.timestamp()


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"there is no time zone {name!r} here, such as Europe/Berlin") from None
