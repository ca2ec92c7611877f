"""``pushgate rules``: alert rules for Prometheus, on stdout."""

from __future__ import annotations

from ..jobs.matchers import parse_matchers
from ..prometheus.rules import rule_file
from .exit_status import UsageError
from .parser import ParsedOptions, Parser, read_labels

_EPILOG = """\
examples:
  pushgate rules > /etc/prometheus/rules/pushgate.yml
  pushgate rules --selector 'job=~"backup|import"' --label team=storage
  promtool check rules /etc/prometheus/rules/pushgate.yml
"""


def parser() -> Parser:
    """The command's parser."""
    made = Parser(
        "rules",
        "Print a Prometheus rule file: alerts on jobs that failed, missed a run, hang or\n"
        "vanished, on the gateway, and on Celery's workers.",
        _EPILOG,
    )
    made.add_argument(
        "--selector",
        metavar="MATCHERS",
        action="append",
        default=[],
        help="only series that match, such as 'job=\"backup\"'; may be repeated",
    )
    made.add_argument(
        "--label",
        metavar="LABEL=VALUE",
        action="append",
        default=[],
        help="add a label to every alert; severity=NAME replaces ours; may be repeated",
    )
    made.add_argument(
        "--group-name",
        metavar="NAME",
        default="pushgate",
        help="the beginning of the names of the rule groups (%(default)s)",
    )
    made.add_argument(
        "--scrape-job",
        metavar="NAME",
        default="pushgateway",
        help="the job_name under which Prometheus scrapes the gateway (%(default)s)",
    )
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0."""
    labels = read_labels(options.label, "--label")
    try:
        matchers = [m for text in options.selector for m in parse_matchers(text)]
        text = rule_file(
            matchers, group_name=options.group_name, scrape_job=options.scrape_job, labels=labels
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")
    return 0
