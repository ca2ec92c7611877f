"""``pushgate delete``: delete exactly one group, or all that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    add_json_option,
    add_match_options,
    group_labels,
    grouping_key,
    load_settings,
)
from .exit_status import UsageError
from .keep_option import add_keep_option, send

if TYPE_CHECKING:
    import argparse

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Returns 0, also where there was no such group."""
    parser = Parser(
        "delete",
        "Delete the group of this job and these labels, and no other; or, with --match,\n"
        "all groups that match. A group that is not there is no error.",
    )
    add_group_options(parser, job_required=False)
    add_match_options(parser, "all groups that match, as 'job=~old-.*'; if repeated, match all")
    add_json_option(parser, "with --match, for scripts")
    add_keep_option(parser)
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    if options.match:
        return _delete_matching(options)
    if options.job is None:
        raise UsageError("give --job, or --match; see 'pushgate delete --help'")
    if options.dry_run:
        raise UsageError("--dry-run is for --match: --job and --group name one group")
    if options.json:
        raise UsageError("--json is for --match: of one group there is nothing to tell")
    if "instance=" in options.group:
        if options.keep:
            raise UsageError("--keep is not for a group with an empty instance")
        # No GroupingKey may have it: next to the group without an instance it fails every scrape.
        # Yet some client made one, and no matcher tells the two apart.
        labels = {"job": options.job, **group_labels(options)}
        load_settings(options).to_gateway().delete_group(labels)
        return 0
    key = grouping_key(options)
    return send(load_settings(options), "DELETE", key, b"", keep=options.keep)


def _delete_matching(options: argparse.Namespace) -> int:
    if options.job is not None or options.group:
        raise UsageError("give either --job and --group, or --match")
    if options.keep:
        raise UsageError("--keep is for --job and --group: what matches is known only now")
    from ..jobs.prune import delete_groups, selective_matchers
    from ..jobs.staleness import StaleGroup
    from .deletion_report import tell

    try:
        matchers = selective_matchers(options.match)
    except ValueError as error:
        raise UsageError(str(error)) from None
    gateway = load_settings(options).to_gateway()
    return tell(
        lambda: [
            StaleGroup(group, "")
            for group in delete_groups(gateway, matchers, dry_run=options.dry_run)
        ],
        dry_run=options.dry_run,
        as_json=options.json,
    )
