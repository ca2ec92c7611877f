"""What was deleted, for a person or a script. Enters: the deleting. Leaves: a list and a count on
stdout, also where it ended half-way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..errors import DeletionError
from .exit_status import printable
from .formatting import braces, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..jobs.staleness import StaleGroup

__all__ = ("tell",)


def tell(delete: Callable[[], Sequence[StaleGroup]], *, dry_run: bool, as_json: bool) -> int:
    """Delete, and print what. Returns 0; raises DeletionError once what was deleted is told."""
    failure: DeletionError | None = None
    left: Sequence[StaleGroup] = ()
    try:
        deleted = delete()
    except DeletionError as error:
        failure, deleted, left = error, error.deleted, error.left
    done = "" if dry_run else "deleted"
    entries = [(entry, done) for entry in deleted] + [(entry, "left") for entry in left]
    if as_json:
        print(  # noqa: T201
            json.dumps(
                [
                    {
                        "labels": entry.group.labels,
                        "reason": entry.reason,
                        "deleted": state == "deleted",
                        "push_time": entry.group.push_time,
                        "push_failure_time": entry.group.push_failure_time,
                    }
                    for entry, state in entries
                ],
                indent=2,
            )
        )
    else:
        for entry, state in entries:
            reason = f"  {entry.reason}" if entry.reason else ""
            line = f"{state or 'would delete'}  {braces(entry.group.labels)}{reason}"
            print(printable(line))  # noqa: T201
        number = counted(len(deleted), "group")
        print(f"{number} would be deleted" if dry_run else f"{number} deleted")  # noqa: T201
    if failure is not None:
        raise failure
    return 0
