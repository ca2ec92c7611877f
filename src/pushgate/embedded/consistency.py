"""Checks which families may stand beside which others.

The rules are those of client_golang's Gatherers, which a Pushgateway runs on every push:
https://github.com/prometheus/client_golang/blob/main/prometheus/registry.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..protocol.metric_types import MEMBERS
from . import model
from .model import HeldFamily, HeldMetric, Labels

# A histogram or summary called m owns these names too.
_OWNED_SUFFIXES = {kind.upper(): suffixes for kind, suffixes in MEMBERS.items()}


class RejectedError(ValueError):
    """The push is inconsistent in itself or with what the gateway holds; the text says how."""


def check(pushed: Iterable[HeldFamily], beside: Iterable[Mapping[str, HeldFamily]]) -> None:
    """Raise RejectedError unless ``pushed`` are sound and fit ``beside``, families by name."""
    pushed, beside = list(pushed), list(beside)
    names = {family.name: family for family in pushed}
    for families in beside:
        names.update(families)
    for family in pushed:
        seen: set[Labels] = set()
        for metric in family.metrics:
            _check_labels(family, metric)
            _claim(family, metric.key(), seen)
        for other in (families[family.name] for families in beside if family.name in families):
            if other.type != family.type:
                raise RejectedError(f'collected metric "{family.name}" is not a {other.type}')
            for metric in other.metrics:
                _claim(family, metric.key(), seen)
        _check_suffixes(family, names)


def _check_labels(family: HeldFamily, metric: HeldMetric) -> None:
    for name in metric.labels:
        if name.startswith("__"):
            raise RejectedError(
                f'collected metric "{family.name}" has a label with an invalid name: {name}'
            )
    if family.type == model.SUMMARY and "quantile" in metric.labels:
        raise RejectedError(
            f'collected metric "{family.name}" must not have an explicit "quantile" label'
        )


def _claim(family: HeldFamily, labels: Labels, seen: set[Labels]) -> None:
    if labels in seen:
        shown = ",".join(f'{name}="{value}"' for name, value in labels)
        raise RejectedError(
            f'collected metric "{family.name}" {{{shown}}} was collected before with the same name '
            "and label values"
        )
    seen.add(labels)


def _check_suffixes(family: HeldFamily, names: Mapping[str, HeldFamily]) -> None:
    for suffix in _OWNED_SUFFIXES.get(family.type or "", ()):
        if family.name + suffix in names:
            raise RejectedError(
                f'collected histogram or summary named "{family.name}" collides with previously '
                f'collected metric named "{family.name + suffix}"'
            )
    for type_, suffixes in _OWNED_SUFFIXES.items():
        for suffix in suffixes:
            owner = names.get(family.name.removesuffix(suffix))
            if owner and family.name.endswith(suffix) and owner.type == type_:
                raise RejectedError(
                    f'collected metric named "{family.name}" collides with previously collected '
                    f'{type_.lower()} named "{owner.name}"'
                )
