"""``pushgate rules``: alert rules for Prometheus, on stdout."""

from __future__ import annotations

import os

from ..jobs.matchers import parse_matchers
from ..prometheus.alerts import read_choices
from ..prometheus.inhibit import INHIBIT_RULES
from ..prometheus.rules import rule_file
from ..settings.config_file import read_rules_table
from ..settings.option_table import OptionSource
from .exit_status import UsageError
from .parsed_options import ParsedOptions, read_labels
from .parser import Parser, add_option

_EPILOG = """\
What --without and --set change survives an upgrade of pushgate. The
configuration file takes the same, in a table:
  [rules]
  without = ["CeleryQueueSlow"]
  runbook_url = "https://wiki.example/pushgate"
  BatchJobFailed.for = "10m"
  GroupStale.threshold = "14d"

examples:
  pushgate rules > /etc/prometheus/rules/pushgate.yml
  pushgate rules --selector 'job=~"backup|import"' --label team=storage
  pushgate rules --without GroupStale --set BatchJobMissed.threshold=1
  promtool check rules /etc/prometheus/rules/pushgate.yml
"""


_LISTS = (
    ("--selector", "MATCHERS", "only series that match, such as 'job=\"backup\"'"),
    (
        *("--label", "LABEL=VALUE"),
        "add a label to every alert whose job has none of this name; severity=NAME replaces ours",
    ),
    ("--without", "NAME", "leave an alert out"),
    (
        *("--set", "NAME.KNOB=VALUE"),
        "change an alert, as by BatchJobFailed.for=10m and GroupStale.threshold=14d; 'pushgate"
        " status' and the dashboard keep the defaults",
    ),
)
_OPTIONS = (
    ("--config", "FILE", "read the table [rules] of this TOML file"),
    (
        *("--runbook-url", "URL"),
        "a copy of docs/runbook.md: each alert has its part there as runbook_url",
    ),
    (
        *("--grafana-url", "URL"),
        "a Grafana with the dashboard: each alert has its job's view as dashboard_url",
    ),
    (
        *("--alertmanager", ""),
        "print inhibit rules for alertmanager.yml: a task's and its DAG's alert are not both sent",
    ),
)


def parser() -> Parser:
    made = Parser(
        "rules",
        "Print a Prometheus rule file: alerts on jobs that failed, missed a run, hang or\n"
        "vanished, on the gateway, and on Celery's workers.",
        _EPILOG,
    )
    for option, placeholder, text in _LISTS:
        add_option(made, option, placeholder, f"{text}; may be repeated", repeated=True)
    for option, placeholder, text in _OPTIONS:
        add_option(made, option, placeholder, text)
    made.add_argument(
        "--format",
        choices=("rules", "prometheusrule"),
        default="rules",
        help="a rule file, or the resource of the Prometheus operator",
    )
    text = "the beginning of the names of the rule groups (%(default)s)"
    add_option(made, "--group-name", "NAME", text, default="pushgate")
    made.add_scrape_job()
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0."""
    if options.alertmanager:
        print(INHIBIT_RULES, end="")
        return 0
    labels = read_labels(options.label or (), "--label")
    given = {
        "without": options.without,
        "runbook_url": options.runbook_url,
        "grafana_url": options.grafana_url,
        **dict(map(_knob, options.set or ())),
    }
    file = read_rules_table(options.config, os.environ)
    choices = read_choices(OptionSource(given, _option), file)
    try:
        matchers = [m for text in options.selector or () for m in parse_matchers(text)]
        text = rule_file(
            matchers,
            group_name=options.group_name,
            scrape_job=options.scrape_job,
            labels=labels,
            choices=choices,
            resource=options.format == "prometheusrule",
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")
    return 0


def _knob(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r}: write it as NAME.for=TIME or NAME.threshold=LIMIT")
    return name, value


def _option(name: str) -> str:
    return f"--set {name}" if "." in name else f"--{name.replace('_', '-')}"
