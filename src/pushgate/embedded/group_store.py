"""The groups of an embedded gateway: how a push changes them, and which pushes are refused.

It does no I/O, and the time is an argument. The rules, observed on 1.11.2, are those of
https://github.com/prometheus/pushgateway/blob/master/storage/diskmetricstore.go
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..protocol.metric_types import FAILURE_TIME, PUSH_TIME
from . import model
from .consistency import RejectedError, check
from .model import HeldFamily, HeldMetric, Labels

_HELP = {
    PUSH_TIME: "Last Unix time when changing this group in the Pushgateway succeeded.",
    FAILURE_TIME: "Last Unix time when changing this group in the Pushgateway failed.",
}


@dataclass(frozen=True)
class HeldGroup:
    """Never altered: a push replaces it, so readers need no lock."""

    labels: Mapping[str, str]
    families: Mapping[str, HeldFamily]

    @property
    def last_push_successful(self) -> bool:
        failed, succeeded = (
            self.families[name].metrics[0].value for name in (FAILURE_TIME, PUSH_TIME)
        )
        return failed <= succeeded


class GroupStore:
    """All groups. ``own`` are the gateway's metrics about itself, which no push may contradict."""

    def __init__(self, own: Iterable[HeldFamily]) -> None:
        self._own = {family.name: family for family in own}
        self._groups: dict[Labels, HeldGroup] = {}
        self._lock = threading.Lock()

    def groups(self) -> list[HeldGroup]:
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
        families: Mapping[str, HeldFamily],
        now: float,
        *,
        replace: bool,
    ) -> None:
        """Replace all families of the group (``replace``), or those of the same names.

        Raises RejectedError; the group then keeps its families and gets a failure time.
        """
        key = _key(labels)
        pushed = {name: family for name, family in families.items() if name not in _HELP}
        with self._lock:
            others = [group for name, group in self._groups.items() if name != key]
            _refuse_twin(labels, others)
            held = self._groups[key].families if key in self._groups else {}
            kept = {
                name: family
                for name, family in held.items()
                if name not in pushed and (name == FAILURE_TIME or not replace)
            }
            try:
                if any(m.has_timestamp for family in families.values() for m in family.metrics):
                    raise RejectedError("pushed metrics must not have timestamps")
                for family in pushed.values():
                    family.pushed_at = now
                    _add_grouping_labels(family, labels)
                check(pushed.values(), [self._own, kept, *(group.families for group in others)])
            except RejectedError:
                never = {PUSH_TIME: _stamp(PUSH_TIME, labels, 0.0, now)}
                failed = {FAILURE_TIME: _stamp(FAILURE_TIME, labels, now, now)}
                self._groups[key] = HeldGroup(labels, {**never, **held, **failed})
                raise
            never = {FAILURE_TIME: _stamp(FAILURE_TIME, labels, 0.0, now)}
            succeeded = {PUSH_TIME: _stamp(PUSH_TIME, labels, now, now)}
            self._groups[key] = HeldGroup(labels, {**never, **kept, **pushed, **succeeded})


def _refuse_twin(labels: Mapping[str, str], others: Iterable[HeldGroup]) -> None:
    exported = _key({"instance": "", **labels})
    if any(_key({"instance": "", **other.labels}) == exported for other in others):
        raise RejectedError(
            'collected metric "push_time_seconds" was collected before with the same name and '
            'label values: a group with instance="" exports the labels of the one without'
        )


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _stamp(name: str, labels: Mapping[str, str], value: float, now: float) -> HeldFamily:
    metric = HeldMetric({"instance": "", **labels}, value)
    return HeldFamily(name, model.GAUGE, _HELP[name], [metric], now)


def _add_grouping_labels(family: HeldFamily, labels: Mapping[str, str]) -> None:
    for metric in family.metrics:
        metric.labels.update(labels)
        metric.labels.setdefault("instance", "")
