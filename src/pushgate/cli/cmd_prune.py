"""``pushgate prune``: delete the groups that nobody pushes to any more."""

from __future__ import annotations

from ..jobs.prune import prune
from .common_options import (
    Parser,
    add_gateway_options,
    add_json_option,
    add_match_options,
    age,
    load_settings,
    read_matchers,
)
from .deletion_report import delete_and_report


def main(arguments: list[str]) -> int:
    """Returns 0, also where nothing is stale; 1 where a group could not be deleted."""
    parser = Parser(
        "prune",
        "Delete the groups whose last push is longer ago than --older-than, by the\n"
        "gateway's clock. A group with an expiry is deleted after it, and not before; the\n"
        "group of a job with a schedule stays for twice the job's interval at least.",
    )
    parser.add_argument(
        "--older-than", required=True, type=age, metavar="DURATION", help="such as 7d or 12h"
    )
    add_match_options(parser, "only groups that match; if repeated, all have to match")
    add_json_option(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    matchers = read_matchers(options.match)
    gateway = load_settings(options).to_gateway()
    return delete_and_report(
        lambda force: prune(
            gateway,
            older_than=options.older_than,
            matchers=matchers,
            dry_run=options.dry_run,
            force=force,
        ),
        force=options.yes,
        dry_run=options.dry_run,
        as_json=options.json,
    )
