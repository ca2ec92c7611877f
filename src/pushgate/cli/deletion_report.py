"""Deletes many groups and prints which, for ``prune`` and ``delete MATCHER``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import DeletionError, UnconfirmedDeletionError
from ..jobs.ages import counted
from ..protocol.names import selector
from .exit_status import CommandError, complain
from .formatting import group_fields, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..jobs.staleness import StaleGroup
    from .parsed_options import ParsedOptions

_SHOWN = 10  # groups before the question


def delete_and_report(
    options: ParsedOptions, delete: Callable[[bool], Sequence[StaleGroup]]
) -> int:
    """Call ``delete`` and print the groups that it deleted, as the options say. Returns 0.

    ``delete`` takes whether to delete what has to be confirmed; at a terminal, that is asked.
    Raises DeletionError after printing which groups were deleted and which are left, CommandError
    where nothing was deleted for want of a confirmation.
    """
    failure: DeletionError | None = None
    left: Sequence[StaleGroup] = ()
    try:
        deleted = _delete_confirmed(delete, options.yes)
    except DeletionError as error:
        failure, deleted, left = error, error.deleted, error.left
    done = "would delete" if options.dry_run else "deleted"
    entries = [(entry, done) for entry in deleted] + [(entry, "left") for entry in left]
    if options.json:
        print_json(
            [
                group_fields(e.group) | {"reason": e.reason, "deleted": state == "deleted"}
                for e, state in entries
            ]
        )
    else:
        for entry, state in entries:
            reason = f"  {entry.reason}" if entry.reason else ""
            print(printable(f"{state}  {selector(entry.group.labels)}{reason}"))
        number = counted(len(deleted), "group")
        print(f"{number} would be deleted" if options.dry_run else f"{number} deleted")
    if failure is not None:
        raise failure
    return 0


def _delete_confirmed(
    delete: Callable[[bool], Sequence[StaleGroup]], force: bool
) -> Sequence[StaleGroup]:
    try:
        return delete(force)
    except UnconfirmedDeletionError as error:
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
            raise CommandError(f"{error}; --dry-run shows them, --yes deletes them") from None
        for entry in error.left[:_SHOWN]:
            complain(selector(entry.group.labels))
        if len(error.left) > _SHOWN:
            complain(f"and {len(error.left) - _SHOWN} more; --dry-run shows them all")
        complain(str(error))
        sys.stderr.write("delete them? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError("nothing was deleted") from None
    return delete(True)
