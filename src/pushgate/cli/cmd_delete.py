"""``pushgate delete``: delete all groups that match, or exactly one group."""

from __future__ import annotations

from ..jobs.matchers import selective_matchers
from ..jobs.prune import delete_groups
from ..jobs.staleness import StaleGroup
from .deletion_report import delete_and_report
from .exit_status import UsageError
from .keep_option import add_keep_option, send
from .parsed_options import ParsedOptions, read_labels
from .parser import Parser


def parser() -> Parser:
    made = Parser(
        "delete",
        "Delete all groups that match; or, with --job and --group, the group with these\n"
        "labels and no other. It is no error if there is no such group.",
    )
    made.add_matchers("the groups to delete")
    made.add_group(job_required=False)
    made.add_deletion()
    add_keep_option(made)
    made.add_output("json", "quiet", "verbose", json="with MATCHER, for scripts")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0, also where there was no such group."""
    if options.matchers:
        return _delete_matching(options)
    if options.job is None:
        raise UsageError("give a MATCHER such as job=old, or --job; see 'pushgate delete --help'")
    if options.dry_run or options.json:
        raise UsageError("--dry-run and --json go with MATCHER; --job and --group name one group")
    if "instance=" in options.group:
        return _delete_with_empty_instance(options)
    return send(options, "DELETE", options.grouping_key(), b"")


def _delete_with_empty_instance(options: ParsedOptions) -> int:
    # A GroupingKey refuses an empty instance: beside the group without an instance it breaks every
    # scrape. Other clients make such groups, and a matcher can't tell the two apart.
    if options.keep:
        raise UsageError("--keep is not for a group with an empty instance")
    labels = {"job": options.job, **read_labels(options.group, "--group")}
    options.open_gateway().delete_group(labels)
    return 0


def _delete_matching(options: ParsedOptions) -> int:
    if options.job is not None or options.group:
        raise UsageError("give either MATCHER, or --job and --group")
    if options.keep:
        raise UsageError("--keep goes with --job and --group, not with MATCHER")
    try:
        matchers = selective_matchers(options.read_matchers())
    except ValueError as error:
        raise UsageError(str(error)) from None
    gateway = options.open_gateway()
    return delete_and_report(
        options,
        lambda force: [
            StaleGroup(group, "")
            for group in delete_groups(gateway, matchers, dry_run=options.dry_run, force=force)
        ],
    )
