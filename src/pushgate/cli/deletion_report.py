"""Deletes many groups and prints which, for ``prune`` and ``delete --match``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DeletionError
from ..protocol.names import selector
from .formatting import counted, group_fields, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..jobs.staleness import StaleGroup

__all__ = ("delete_and_report",)


def delete_and_report(
    delete: Callable[[], Sequence[StaleGroup]], *, dry_run: bool, as_json: bool
) -> int:
    """Call ``delete`` and print the groups that it deleted. Returns 0.

    Raises DeletionError after printing which groups were deleted and which are left.
    """
    failure: DeletionError | None = None
    left: Sequence[StaleGroup] = ()
    try:
        deleted = delete()
    except DeletionError as error:
        failure, deleted, left = error, error.deleted, error.left
    done = "would delete" if dry_run else "deleted"
    entries = [(entry, done) for entry in deleted] + [(entry, "left") for entry in left]
    if as_json:
        print_json(
            [
                {
                    **group_fields(entry.group),
                    "reason": entry.reason,
                    "deleted": state == "deleted",
                }
                for entry, state in entries
            ]
        )
    else:
        for entry, state in entries:
            reason = f"  {entry.reason}" if entry.reason else ""
            print(printable(f"{state}  {selector(entry.group.labels)}{reason}"))
        number = counted(len(deleted), "group")
        print(f"{number} would be deleted" if dry_run else f"{number} deleted")
    if failure is not None:
        raise failure
    return 0
