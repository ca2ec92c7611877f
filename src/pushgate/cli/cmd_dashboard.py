"""``pushgate dashboard``: a Grafana dashboard as JSON, on stdout."""

from __future__ import annotations

from ..prometheus.dashboard import dashboard
from .formatting import print_json
from .parsed_options import ParsedOptions
from .parser import Parser


def parser() -> Parser:
    made = Parser(
        "dashboard",
        "Print a Grafana dashboard of all jobs as JSON, for Grafana 9 to 11: import it,\n"
        "or put it into a folder that Grafana loads dashboards from.",
    )
    made.add_scrape_job()
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0."""
    print_json(dashboard(scrape_job=options.scrape_job))
    return 0
