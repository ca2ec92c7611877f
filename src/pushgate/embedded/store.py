"""The groups of an embedded gateway: what a push changes, and which pushes are refused.

Enters: grouping labels and parsed families. Leaves: groups, or RejectedError. No I/O; the time is
an argument. The rules, observed on 1.11.2, are those of
https://github.com/prometheus/pushgateway/blob/master/storage/diskmetricstore.go
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pushgate.embedded import model
from pushgate.embedded.consistency import RejectedError, check
from pushgate.embedded.model import Family, Labels, Metric

PUSH_TIME = "push_time_seconds"
PUSH_FAILURE = "push_failure_time_seconds"
_HELP = {
    PUSH_TIME: "Last Unix time when changing this group in the Pushgateway succeeded.",
    PUSH_FAILURE: "Last Unix time when changing this group in the Pushgateway failed.",
}


@dataclass(frozen=True)
class Stored:
    family: Family
    at: float  # Unix seconds of the push that brought it


@dataclass(frozen=True)
class Group:
    """Never altered: a push replaces it, so readers need no lock."""

    labels: Mapping[str, str]
    stored: Mapping[str, Stored]

    @property
    def last_push_successful(self) -> bool:
        failed, succeeded = (
            self.stored[name].family.metrics[0].value for name in (PUSH_FAILURE, PUSH_TIME)
        )
        return failed <= succeeded


class Store:
    def __init__(self, own: Iterable[Family] = ()) -> None:
        """`own`: the gateway's metrics about itself, which pushed ones must not contradict."""
        self._own = {family.name: family for family in own}
        self._groups: dict[Labels, Group] = {}
        self._lock = threading.Lock()

    def groups(self) -> list[Group]:
        with self._lock:
            return list(self._groups.values())

    def wipe(self) -> None:
        with self._lock:
            self._groups = {}

    def delete(self, labels: Mapping[str, str]) -> None:
        with self._lock:
            self._groups.pop(_key(labels), None)

    def push(
        self,
        labels: Mapping[str, str],
        families: Mapping[str, Family],
        now: float,
        *,
        replace: bool,
    ) -> None:
        """Put `families` into the group, instead of all (replace) or of the same-named ones.

        Raises RejectedError; the group then keeps what it has, and a failure time.
        """
        key = _key(labels)
        pushed = {name: family for name, family in families.items() if name not in _HELP}
        with self._lock:
            others = [group for name, group in self._groups.items() if name != key]
            _refuse_twin(labels, others)
            had = self._groups[key].stored if key in self._groups else {}
            kept = {
                name: item
                for name, item in had.items()
                if name not in pushed and (name == PUSH_FAILURE or not replace)
            }
            try:
                if any(m.has_timestamp for family in families.values() for m in family.metrics):
                    raise RejectedError("pushed metrics must not have timestamps")
                for family in pushed.values():
                    _add_grouping_labels(family, labels)
                beside = [kept, *(group.stored for group in others)]
                check(
                    pushed.values(),
                    [self._own, *({n: item.family for n, item in s.items()} for s in beside)],
                )
            except RejectedError:
                never = {PUSH_TIME: _stamp(PUSH_TIME, labels, 0.0, now)}
                failed = {PUSH_FAILURE: _stamp(PUSH_FAILURE, labels, now, now)}
                self._groups[key] = Group(labels, {**never, **had, **failed})
                raise
            never = {PUSH_FAILURE: _stamp(PUSH_FAILURE, labels, 0.0, now)}
            new = {name: Stored(family, now) for name, family in pushed.items()}
            new[PUSH_TIME] = _stamp(PUSH_TIME, labels, now, now)
            self._groups[key] = Group(labels, {**never, **kept, **new})


def _refuse_twin(labels: Mapping[str, str], others: Iterable[Group]) -> None:
    exported = _key({"instance": "", **labels})
    if any(_key({"instance": "", **other.labels}) == exported for other in others):
        raise RejectedError(
            'collected metric "push_time_seconds" was collected before with the same name and '
            'label values: a group with instance="" exports the labels of the one without'
        )


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _stamp(name: str, labels: Mapping[str, str], value: float, now: float) -> Stored:
    metric = Metric({"instance": "", **labels}, value)
    return Stored(Family(name, model.GAUGE, _HELP[name], [metric]), now)


def _add_grouping_labels(family: Family, labels: Mapping[str, str]) -> None:
    for metric in family.metrics:
        metric.labels.update(labels)
        metric.labels.setdefault("instance", "")
