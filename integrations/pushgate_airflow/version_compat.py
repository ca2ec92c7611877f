"""The differences between Airflow 3.0, 3.1, 3.2 and 3.3, in one place."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
    from airflow.sdk.plugins_manager import AirflowPlugin

__all__ = (
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowPlugin",
    "BaseHook",
    "next_due",
)

# The newest place first: from the older ones, Airflow 3.2 and later warn.
_PLACES = {
    "AirflowFailException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowNotFoundException": ("airflow.sdk.exceptions", "airflow.exceptions"),
    "AirflowPlugin": ("airflow.sdk.plugins_manager", "airflow.plugins_manager"),
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),
}


# On first use: the plugin is loaded in each task's process, and needs one of these names.
def __getattr__(name: str) -> Any:
    for place in _PLACES.get(name, ()):
        try:
            return getattr(import_module(place), name)
        except (ImportError, AttributeError):
            continue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def next_due(timetable: Any, dag_run: Any, end_date: datetime | None) -> datetime | None:
    """When the run after ``dag_run`` is due, by the DAG's timetable. Asks no database.

    ``dag_run`` is a scheduled run or a backfill. None where the timetable names no time.
    """
    import pendulum
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
    from airflow.timetables.simple import ContinuousTimetable

    def aware(moment: datetime | None) -> Any:
        return None if moment is None else pendulum.instance(moment)

    if not hasattr(timetable, "next_dagrun_info"):  # in a DAG file, from 3.3 on: a description
        from airflow.serialization.encoders import coerce_to_core_timetable

        timetable = coerce_to_core_timetable(timetable)
    if isinstance(timetable, ContinuousTimetable):  # the next is due when this one has ended
        return None
    due = aware(dag_run.run_after)
    start, end = aware(dag_run.data_interval_start), aware(dag_run.data_interval_end)
    interval = DataInterval.exact(due) if start is None or end is None else DataInterval(start, end)
    restriction = TimeRestriction(None, aware(end_date), catchup=True)
    if hasattr(timetable, "next_dagrun_info_v2"):  # from 3.2 on
        info = timetable.next_dagrun_info_v2(
            last_dagrun_info=DagRunInfo(run_after=due, data_interval=interval),
            restriction=restriction,
        )
    else:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=restriction
        )
    return None if info is None else info.run_after
