"""``pushgate dashboard``: a Grafana dashboard as JSON, on stdout."""

from __future__ import annotations

from ..prometheus.dashboard import dashboard
from .common_options import Parser
from .formatting import print_json


def main(arguments: list[str]) -> int:
    """Returns 0."""
    Parser(
        "dashboard",
        "Print a Grafana dashboard of all jobs as JSON, for Grafana 9 to 11: import it, or put it\n"
        "into a folder that Grafana loads dashboards from.",
    ).parse_args(arguments)
    print_json(dashboard())
    return 0
