"""What callbacks of DAG files were given: they are imported under names of Airflow's making, so a
test and a DAG file meet here."""

from __future__ import annotations

from typing import Any, NamedTuple

from pushgate_airflow import Event, PushgatewayNotifier


class Record(NamedTuple):
    slot: str
    context: dict[str, Any]
    event: Event


RECORDS: list[Record] = []


class NotPushedError(Exception):
    """Ends a recording notifier's call."""


def recording(slot: str) -> PushgatewayNotifier:
    """A notifier for ``slot`` that keeps what it was given and pushes nothing."""

    def record(event: Event, context: Any) -> dict[str, object]:
        RECORDS.append(Record(slot, dict(context), event))
        raise NotPushedError

    return PushgatewayNotifier(gateway="http://nowhere.test", labels=record)
