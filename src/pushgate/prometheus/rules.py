"""Writes the rule file for Prometheus.

The YAML is written without a library: all texts are our own, or are checked here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .alerts import celery_alerts, gateway_alerts, job_alerts
from .queries import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..jobs.matchers import Matcher
    from .alerts import Alert

__all__ = ("WINDOW", "rule_file", "yaml_text")

WINDOW = "10m"
"""How long alerts outlive the last scrape of the gateway: PushgatewayDown fires before."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_HEAD = """\
# Alert rules on what pushgate publishes, made by 'pushgate rules'. They need Prometheus 2.26, and a
# scrape of the gateway with honor_labels: true ('pushgate scrape-config' prints one). Give this
# file under rule_files. last_over_time bridges {window} in which the gateway can't be scraped.
groups:
"""


def rule_file(
    matchers: Iterable[Matcher] = (),
    *,
    group_name: str = "pushgate",
    scrape_job: str = "pushgateway",
    labels: Mapping[str, str] | None = None,
) -> str:
    """The alert rules, in groups named ``<group_name>-jobs``, ``-gateway`` and ``-celery``.

    ``matchers`` narrow every selector except that of ``up``, which has the name of the scrape,
    ``scrape_job``. ``labels`` are added to every alert; a ``severity`` replaces ours. Raises
    ValueError for names and labels that Prometheus would refuse.
    """
    labels = dict(labels or {})
    for name in labels:
        if not _NAME.fullmatch(name) or name == "alertname":
            raise ValueError(f"an alert can't have the label {name!r}; use letters, digits and _")
    for name in (group_name, scrape_job, *labels.values()):
        if not name or not name.isprintable():
            raise ValueError(f"{name!r} is no name; give text on one line")
    series = Series(",".join(map(str, matchers)), WINDOW)
    groups = {
        "jobs": job_alerts(series),
        "gateway": gateway_alerts(series, _escaped(scrape_job)),
        "celery": celery_alerts(series),
    }
    lines = [_HEAD.format(window=WINDOW)]
    for suffix, alerts in groups.items():
        lines.append(f"  - name: {yaml_text(f'{group_name}-{suffix}')}\n    rules:\n")
        for alert in alerts:
            lines += (f"      {line}\n" for line in _rule(alert, labels))
    return "".join(lines)


def yaml_text(text: str) -> str:
    """``text``, a single line, as a YAML string."""
    return "'" + text.replace("'", "''") + "'"


def _rule(alert: Alert, labels: Mapping[str, str]) -> Iterator[str]:
    for line in alert.reason.splitlines():
        yield f"# {line}"
    yield f"- alert: {alert.name}"
    yield "  expr: |-"
    for line in alert.expression.splitlines():
        yield f"    {line}"
    if alert.hold:
        yield f"  for: {alert.hold}"
    yield "  labels:"
    for name, value in {"severity": alert.severity, **labels}.items():
        yield f"    {name}: {yaml_text(value)}"
    yield "  annotations:"
    yield f"    summary: {yaml_text(alert.summary)}"
    yield f"    description: {yaml_text(alert.description)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
