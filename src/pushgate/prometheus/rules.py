"""Writes the rule file for Prometheus.

The YAML is written without a library: all texts are our own, or are checked here.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from .alerts import ALERTS, RuleChoices
from .jobs_table import VARIABLES
from .series_selector import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..jobs.matchers import Matcher
    from .alert import Alert

WINDOW = "10m"
"""How long alerts outlive the last scrape of the gateway: PushgatewayDown fires before."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESOURCE_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_ACTION = re.compile(r"\{\{.*?\}\}")
_WIDTH = 90

_HEAD = f"""\
# Alert rules on what pushgate publishes, made by 'pushgate rules'. They need Prometheus 2.26, and a
# scrape of the gateway with honor_labels: true ('pushgate scrape-config' prints one).
# last_over_time bridges {WINDOW} in which the gateway can't be scraped. A label that a job's group
# has, such as severity or team, goes before the one that is given here.
"""
_RESOURCE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
spec:
"""


def rule_file(
    matchers: Iterable[Matcher] = (),
    *,
    group_name: str = "pushgate",
    scrape_job: str = "pushgateway",
    labels: Mapping[str, str] | None = None,
    choices: RuleChoices | None = None,
    resource: bool = False,
) -> str:
    """The alert rules, in groups named ``<group_name>-jobs``, ``-gateway`` and ``-celery``.

    ``matchers`` narrow every selector except those of the gateway itself, which have the name of
    the scrape, ``scrape_job``. ``labels`` are added to every alert whose job has not got them; a
    ``severity`` replaces ours. ``resource``: as a PrometheusRule of the Prometheus operator.
    Raises ValueError for names and labels that Prometheus would refuse.
    """
    labels = dict(labels or {})
    for name in labels:
        if not _NAME.fullmatch(name) or name == "alertname":
            raise ValueError(f"an alert can't have the label {name!r}; use letters, digits and _")
    for name in (group_name, scrape_job, *labels.values()):
        if not name or not name.isprintable():
            raise ValueError(f"{name!r} is no name; give text on one line")
    series = Series(",".join(map(str, matchers)), WINDOW, scrape_job)
    choices = choices or RuleChoices()
    lines = ["groups:"]
    for suffix, alerts in ALERTS.items():
        rules = [
            f"      {line}"
            for alert in alerts
            if alert.name not in choices.without
            for line in _rule(alert, series, labels, choices)
        ]
        if rules:
            lines += [f"  - name: {yaml_text(f'{group_name}-{suffix}')}", "    rules:", *rules]
    if not resource:
        return _HEAD + "".join(f"{line}\n" for line in lines)
    if not _RESOURCE_NAME.fullmatch(group_name):
        raise ValueError(f"a resource can't be called {group_name!r}; use a-z, 0-9 and -")
    head = _RESOURCE.format(name=yaml_text(group_name))
    return _HEAD + head + "".join(f"  {line}\n" for line in lines)


def yaml_text(text: str) -> str:
    """``text``, a single line, as a YAML string."""
    return "'" + text.replace("'", "''") + "'"


def _rule(
    alert: Alert, series: Series, labels: Mapping[str, str], choices: RuleChoices
) -> Iterator[str]:
    threshold = choices.thresholds.get(alert.name, alert.threshold)
    hold = choices.holds.get(alert.name, alert.hold)
    for line in alert.reason.splitlines():
        yield f"# {line}"
    yield f"- alert: {alert.name}"
    yield "  expr: |-"
    for line in alert.expression(series, threshold or 0.0).splitlines():
        yield f"    {line}"
    if hold:
        yield f"  for: {hold}"
    yield "  labels:"
    for name, value in {"severity": alert.severity, **labels}.items():
        yield f"    {name}: {yaml_text(_unless_labelled(name, value))}"
    yield "  annotations:"
    yield from _folded("summary", alert.summary)
    yield from _folded("description", alert.description)
    if choices.runbook_url:
        yield f"    runbook_url: {yaml_text(f'{choices.runbook_url}#{alert.name.lower()}')}"
    if choices.grafana_url:
        yield from _folded("dashboard_url", _dashboard_url(choices.grafana_url))


def _unless_labelled(name: str, value: str) -> str:
    """The job's own label, or ``value``. Of a rule's labels and a series', the rule's count.

    A template of the user's stays as it is.
    """
    if "{{" in value:
        return value
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{{{ or $labels.{name} "{quoted}" }}}}'


def _dashboard_url(grafana: str) -> str:
    more = "".join(
        f"{{{{ with $labels.{name} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
        for name in VARIABLES
        if name != "job"
    )
    return f"{grafana.rstrip('/')}/d/pushgate?var-job={{{{ $labels.job | urlquery }}}}{more}"


def _folded(name: str, text: str) -> Iterator[str]:
    """A YAML string on as many lines as it takes, which are joined again by the spaces between.

    No line ends within an action of the template.
    """
    if len(text) < _WIDTH:
        yield f"    {name}: {yaml_text(text)}"
        return
    yield f"    {name}: >-"
    words = _ACTION.sub(lambda action: action[0].replace(" ", "\0"), text)
    for line in textwrap.wrap(words, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"      {line}".replace("\0", " ")
