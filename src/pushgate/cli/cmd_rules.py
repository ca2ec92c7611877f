"""``pushgate rules``: alert rules for Prometheus, on stdout."""

from __future__ import annotations

from .common_options import Parser
from .exit_status import UsageError

__all__ = ("main",)

_EPILOG = """\
examples:
  pushgate rules > /etc/prometheus/rules/pushgate.yml
  pushgate rules --selector 'job=~"backup|import"' --label team=storage
  promtool check rules /etc/prometheus/rules/pushgate.yml
"""


def main(arguments: list[str]) -> int:
    """Print them. Returns 0."""
    options = _parser().parse_args(arguments)
    from ..jobs.matchers import parse_matchers
    from ..prometheus.rules import rule_file

    labels: dict[str, str] = {}
    for text in options.label:
        name, equals, value = text.partition("=")
        if not equals or name in labels:
            raise UsageError(f"--label {text!r}: write it as NAME=VALUE, each name once")
        labels[name] = value
    try:
        matchers = [m for text in options.selector for m in parse_matchers(text)]
        text = rule_file(
            matchers, group_name=options.group_name, scrape_job=options.scrape_job, labels=labels
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")  # noqa: T201
    return 0


def _parser() -> Parser:
    parser = Parser(
        "rules",
        "Print a Prometheus rule file: alerts on jobs that failed, missed a run, hang or\n"
        "vanished, on the gateway, and on Celery's workers.",
        _EPILOG,
    )
    parser.add_argument(
        "--selector",
        metavar="MATCHERS",
        action="append",
        default=[],
        help="only series that match, such as 'job=\"backup\"'; may be repeated",
    )
    parser.add_argument(
        "--label",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="add a label to every alert; severity=… takes the place of ours; may be repeated",
    )
    parser.add_argument(
        "--group-name",
        metavar="NAME",
        default="pushgate",
        help="what the names of the groups of rules begin with (%(default)s)",
    )
    parser.add_argument(
        "--scrape-job",
        metavar="NAME",
        default="pushgateway",
        help="the job_name under which Prometheus scrapes the gateway (%(default)s)",
    )
    return parser
