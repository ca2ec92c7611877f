"""How long until a DAG's next run is due, from its schedule and nothing else.

Enters: a DAG and a run of it, of whichever process. Leaves: seconds, or None where no time says
when the next run is: no schedule, ``@once``, ``@continuous``, assets. No database is asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ("expected_interval",)

_SCHEDULED = ("scheduled", "backfill")
_MAX_STEPS = 200  # from one due time to the next, while looking for the one before a moment
_MAX_LOOKS = 8  # each as far back again as the one before


def expected_interval(dag: Any, dag_run: Any) -> float | None:
    """Seconds from when ``dag_run`` was due to when the next run is.

    Exact where runs come at irregular times: ``0 9 * * 1-5`` gives three days on a Friday. A run
    that somebody triggered, with or without a logical date, gets the period of the schedule that it
    falls into: what is left of it may be next to nothing.
    """
    try:
        return _interval(_Schedule(dag), dag_run)
    except Exception as error:  # also what a timetable of the user's raises
        logging.getLogger("pushgate").debug("the schedule of %r tells no period: %s", dag, error)
        return None


def _interval(schedule: _Schedule, dag_run: Any) -> float | None:
    moment = _moment(dag_run.run_after)
    if getattr(dag_run.run_type, "value", dag_run.run_type) in _SCHEDULED:
        due = schedule.due_after(moment, _data_interval(dag_run))
        return None if due is None else _seconds(due.run_after - moment)
    due = schedule.due_after(moment)
    after = due and schedule.due_after(due.run_after, due.data_interval)
    if due is None or after is None:
        return None
    span = after.run_after - due.run_after
    for _ in range(_MAX_LOOKS):
        before = schedule.due_after(moment - span)
        for _ in range(_MAX_STEPS):
            if before is None or before.run_after > moment:
                break
            following = schedule.due_after(before.run_after, before.data_interval)
            if following is None or following.run_after <= before.run_after:
                return None
            if following.run_after > moment:
                return _seconds(following.run_after - before.run_after)
            before = following
        span *= 2
    return None


class _Schedule:
    """A DAG's timetable, asked for one due time after the other."""

    def __init__(self, dag: Any) -> None:
        from airflow.timetables.base import TimeRestriction

        self._timetable = _timetable(dag.timetable)
        self._restriction = TimeRestriction(None, _moment(dag.end_date), catchup=True)

    def due_after(self, moment: Any, interval: Any = None) -> Any:
        """The DagRunInfo that follows a run due at ``moment`` with this data interval, or None."""
        from airflow.timetables.base import DagRunInfo, DataInterval
        from airflow.timetables.simple import ContinuousTimetable

        if isinstance(self._timetable, ContinuousTimetable):  # due as soon as the last one ended
            return None
        interval = interval or DataInterval.exact(moment)
        if not hasattr(self._timetable, "next_dagrun_info_v2"):  # before 3.2
            return self._timetable.next_dagrun_info(
                last_automated_data_interval=interval, restriction=self._restriction
            )
        info = DagRunInfo(run_after=moment, data_interval=interval)
        return self._timetable.next_dagrun_info_v2(
            last_dagrun_info=info, restriction=self._restriction
        )


def _timetable(timetable: Any) -> Any:
    """From 3.3 on, a DAG file's timetable is a description of the one that can reckon."""
    if hasattr(timetable, "next_dagrun_info"):
        return timetable
    from airflow.serialization.encoders import coerce_to_core_timetable

    return coerce_to_core_timetable(timetable)


def _seconds(span: timedelta) -> float | None:
    return span.total_seconds() if span.total_seconds() > 0 else None


def _data_interval(dag_run: Any) -> Any:
    from airflow.timetables.base import DataInterval

    start, end = _moment(dag_run.data_interval_start), _moment(dag_run.data_interval_end)
    return None if start is None or end is None else DataInterval(start, end)


def _moment(moment: datetime | None) -> Any:
    import pendulum

    return None if moment is None else pendulum.instance(moment)
