"""``pushgate scrape-config``: the configuration by which Prometheus scrapes the gateway."""

from __future__ import annotations

from ..prometheus.scrape import scrape_config
from .common_options import Parser, add_gateway_options, load_settings
from .exit_status import UsageError


def main(arguments: list[str]) -> int:
    """Returns 0."""
    parser = Parser(
        "scrape-config",
        "Print the scrape configuration for the gateway, as a part of prometheus.yml. It holds no\n"
        "secret: where the gateway wants one, it names a file that Prometheus reads.",
    )
    parser.add_argument(
        "--scrape-job",
        metavar="NAME",
        default="pushgateway",
        help="the job_name (%(default)s); give the same to 'pushgate rules'",
    )
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    settings = load_settings(options)
    settings.to_gateway()  # raises where no gateway is set
    try:
        text = scrape_config(settings, scrape_job=options.scrape_job)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(text, end="")
    return 0
