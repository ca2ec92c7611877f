"""``pushgate dashboard``: a Grafana dashboard as JSON, on stdout."""

from __future__ import annotations

from ..prometheus.dashboard import dashboard
from .formatting import print_json
from .parsed_options import ParsedOptions
from .parser import Parser


def parser() -> Parser:
    return Parser(
        "dashboard",
        "Print a Grafana dashboard of all jobs as JSON, for Grafana 9 to 11: import it,\n"
        "or put it into a folder that Grafana loads dashboards from.",
    )


def run(_options: ParsedOptions) -> int:
    """Returns 0."""
    print_json(dashboard())
    return 0
