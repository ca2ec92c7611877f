"""``pushgate scrape-config``: the configuration by which Prometheus scrapes the gateway."""

from __future__ import annotations

from ..prometheus.scrape import scrape_config
from .exit_status import UsageError
from .parser import ParsedOptions, Parser


def parser() -> Parser:
    """The command's parser."""
    made = Parser(
        "scrape-config",
        "Print the scrape configuration for the gateway, as a part of prometheus.yml. It\n"
        "holds no secret: where the gateway wants one, it names a file for Prometheus.",
    )
    made.add_argument(
        "--scrape-job",
        metavar="NAME",
        default="pushgateway",
        help="the job_name (%(default)s); give the same to 'pushgate rules'",
    )
    made.add_gateway()
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0."""
    settings = options.load_settings()
    settings.to_gateway()  # raises where no gateway is set
    try:
        text = scrape_config(settings, scrape_job=options.scrape_job)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")
    return 0
