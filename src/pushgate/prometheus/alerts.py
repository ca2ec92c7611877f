"""All alerts, and what a user may change of them without editing the rule file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..settings.option_table import OptionSource, read_options
from ..settings.readers import names, parse_duration, text
from .celery_alerts import CELERY_ALERTS
from .gateway_alerts import GATEWAY_ALERTS
from .job_alerts import JOB_ALERTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .alert import Alert

ALERTS: Mapping[str, tuple[Alert, ...]] = {
    "jobs": JOB_ALERTS,
    "gateway": GATEWAY_ALERTS,
    "celery": CELERY_ALERTS,
}

# https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations
_DURATION = re.compile(r"0|(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?")


class RuleChoices(NamedTuple):
    """What a user changes of the alerts.

    ``without`` are the names of those to leave out. ``holds`` and ``thresholds`` are by the alert's
    name. ``runbook_url`` is the page that explains each alert at an anchor of its name,
    ``grafana_url`` that of a Grafana with the dashboard.
    """

    without: frozenset[str] = frozenset()
    holds: Mapping[str, str] = {}
    thresholds: Mapping[str, float] = {}
    runbook_url: str | None = None
    grafana_url: str | None = None


def read_choices(*sources: OptionSource) -> RuleChoices:
    """The choices in ``sources``, each from the first that has it.

    Options are ``without``, ``runbook_url``, ``grafana_url``, and of each alert ``NAME.for`` and,
    where it has one, ``NAME.threshold``, which a table called NAME may hold, too. Raises
    SettingsError.
    """
    values, _ = read_options(_table(), *map(_flat, sources))
    return RuleChoices(
        without=frozenset(values.get("without", ())),
        holds=_by_name(values, ".for"),
        thresholds=_by_name(values, ".threshold"),
        runbook_url=values.get("runbook_url"),
        grafana_url=values.get("grafana_url"),
    )


def _table() -> Mapping[str, Callable[[Any, OptionSource], Any]]:
    alerts = [alert for group in ALERTS.values() for alert in group]
    table: dict[str, Callable[[Any, OptionSource], Any]] = {
        "without": _names_of(alerts),
        "runbook_url": text,
        "grafana_url": text,
    }
    for alert in alerts:
        table[f"{alert.name}.for"] = _hold
        if alert.threshold is not None:
            table[f"{alert.name}.threshold"] = _threshold
    return table


def _flat(source: OptionSource) -> OptionSource:
    flat: dict[str, object] = {}
    for name, value in source.values.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": deeper for inner, deeper in value.items()}
        else:
            flat[name] = value
    return OptionSource(flat, source.label)


def _by_name(values: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    return {n.removesuffix(suffix): value for n, value in values.items() if n.endswith(suffix)}


def _names_of(alerts: list[Alert]) -> Callable[[Any, OptionSource], tuple[str, ...]]:
    from ..settings.option_table import did_you_mean

    known = [alert.name for alert in alerts]

    def read(value: object, source: OptionSource) -> tuple[str, ...]:
        found = names(value, source)
        for name in found:
            if name not in known:
                advice = did_you_mean(name, known) or f"; there are {', '.join(known)}"
                raise ValueError(f"there is no alert {name!r}{advice}")
        return tuple(found)

    return read


def _hold(value: object, _source: OptionSource) -> str:
    if value == 0:
        return "0s"
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is no duration of Prometheus; write 0s, 90s, 5m, 1h30m or 2d")
    return value


def _threshold(value: object, _source: OptionSource) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    try:
        return parse_duration(str(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is no threshold; write a number, such as 0.5 or 3, or a time such as 90s,"
            " 15m, 2h, 7d"
        ) from None
