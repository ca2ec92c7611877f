"""``pushgate prune``: delete the groups that nobody pushes to any more."""

from __future__ import annotations

from ..jobs.prune import prune
from ..settings import readers
from .deletion_report import delete_and_report
from .parsed_options import ParsedOptions
from .parser import Parser, add_option


def parser() -> Parser:
    made = Parser(
        "prune",
        "Delete the groups whose last push is longer ago than --older-than, by the\n"
        "gateway's clock. A group with an expiry is deleted after it, and not before; the\n"
        "group of a job with a schedule stays for twice the job's interval at least.",
    )
    text = "such as 7d or 12h"
    add_option(made, "--older-than", "DURATION", text, read=readers.age, required=True)
    made.add_matchers("only groups that match")
    made.add_deletion()
    made.add_output("json", "quiet")
    made.add_gateway("request")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0, also where nothing is stale; 1 where a group could not be deleted."""
    matchers = options.read_matchers()
    gateway = options.open_gateway()
    return delete_and_report(
        options,
        lambda force: prune(
            gateway,
            older_than=options.older_than,
            matchers=matchers,
            dry_run=options.dry_run,
            force=force,
        ),
    )
