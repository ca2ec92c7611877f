"""What callbacks of DAG files were given: they are imported under names of Airflow's making, so a
test and a DAG file meet here.

In: a context, at the moment of the call. Out: the slot, the context's objects, and its Event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Record(NamedTuple):
    slot: str
    context: dict[str, Any]
    event: Any


RECORDS: list[Record] = []


def recording(slot: str) -> Callable[[Any], None]:
    """A callback for ``slot`` that keeps what it was given."""

    def record(context: Any) -> None:
        from pushgate_airflow._context import event_of

        RECORDS.append(Record(slot, dict(context), event_of(context, record)))

    return record
