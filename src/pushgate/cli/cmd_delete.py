"""``pushgate delete``: delete exactly one group, or all groups that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.matchers import selective_matchers
from ..jobs.prune import delete_groups
from ..jobs.staleness import StaleGroup
from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    add_json_option,
    add_match_options,
    grouping_key,
    load_settings,
    read_labels,
)
from .deletion_report import delete_and_report
from .exit_status import UsageError
from .keep_option import add_keep_option, send

if TYPE_CHECKING:
    import argparse


def main(arguments: list[str]) -> int:
    """Returns 0, also where there was no such group."""
    parser = Parser(
        "delete",
        "Delete the group of this job and these labels, and no other; or, with --match,\n"
        "all groups that match. It is no error if there is no such group.",
    )
    add_group_options(parser, job_required=False)
    add_match_options(
        parser, "all groups that match, such as 'job=~old-.*'; if repeated, all have to match"
    )
    add_json_option(parser, "with --match, for scripts")
    add_keep_option(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    if options.match:
        return _delete_matching(options)
    if options.job is None:
        raise UsageError("give --job, or --match; see 'pushgate delete --help'")
    if options.dry_run or options.json:
        raise UsageError("--dry-run and --json are for --match; --job and --group name one group")
    if "instance=" in options.group:
        return _delete_with_empty_instance(options)
    key = grouping_key(options)
    return send(load_settings(options), "DELETE", key, b"", keep=options.keep)


def _delete_with_empty_instance(options: argparse.Namespace) -> int:
    # A GroupingKey refuses an empty instance: beside the group without an instance it breaks every
    # scrape. Other clients make such groups, and a matcher can't tell the two apart.
    if options.keep:
        raise UsageError("--keep is not for a group with an empty instance")
    labels = {"job": options.job, **read_labels(options.group, "--group")}
    load_settings(options).to_gateway().delete_group(labels)
    return 0


def _delete_matching(options: argparse.Namespace) -> int:
    if options.job is not None or options.group:
        raise UsageError("give either --job and --group, or --match")
    if options.keep:
        raise UsageError("--keep is for --job and --group, not for --match")
    try:
        matchers = selective_matchers(options.match)
    except ValueError as error:
        raise UsageError(str(error)) from None
    gateway = load_settings(options).to_gateway()
    return delete_and_report(
        lambda force: [
            StaleGroup(group, "")
            for group in delete_groups(gateway, matchers, dry_run=options.dry_run, force=force)
        ],
        force=options.yes,
        dry_run=options.dry_run,
        as_json=options.json,
    )
