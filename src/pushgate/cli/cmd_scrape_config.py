"""``pushgate scrape-config``: the configuration by which Prometheus scrapes the gateway."""

from __future__ import annotations

from ..prometheus.scrape import scrape_config
from .exit_status import UsageError
from .parsed_options import ParsedOptions
from .parser import Parser


def parser() -> Parser:
    made = Parser(
        "scrape-config",
        "Print the scrape configuration for the gateway, as a part of prometheus.yml. It\n"
        "holds no secret: where the gateway wants one, it names a file for Prometheus.\n"
        "Give --gateway several times where there are several: the label gateway tells\n"
        "their groups apart.",
    )
    made.add_scrape_job()
    made.add_gateway(several=True)
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0."""
    each = [
        ParsedOptions(**{**vars(options), "gateway": url}).load_settings()
        for url in options.gateway or [None]
    ]
    for settings in each:
        settings.to_gateway()  # raises where no gateway is set
    try:
        text = scrape_config(each, scrape_job=options.scrape_job)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")
    return 0
