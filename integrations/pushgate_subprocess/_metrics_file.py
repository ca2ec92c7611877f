"""The file that a job appends its own metrics to, named in `$PUSHGATE_METRICS_FILE`.

It is made before the job starts and read after its end. By then the job may have put anything in
its place.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import Family, GroupingKey

__all__ = ("MAX_BYTES", "create", "read", "remove")

MAX_BYTES = 1_048_576
_MOST_COMPLAINTS = 20


def create() -> str | None:
    """Make an empty file in ``$TMPDIR`` or else /tmp, mode 0600; None where that can't be done."""
    name = f"pushgate-{os.urandom(8).hex()}.prom"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for directory in (os.environ.get("TMPDIR"), "/tmp"):  # noqa: S108 - O_EXCL, a random name
        if not directory:
            continue
        try:
            path = os.path.join(os.path.abspath(directory), name)  # the job may change directory
            fd = os.open(path, flags, 0o600)
        except OSError:
            continue
        with suppress(OSError):
            os.fchmod(fd, 0o600)  # a umask of 777 would shut the job out
        os.close(fd)
        return path
    return None


def read(path: str | None, key: GroupingKey, complain: Callable[[str], object]) -> list[Family]:
    """Return what the job wrote, as families of its own group beside the group ``key``.

    ``complain`` takes a line for each line of the file that can't be used. Doesn't follow a link
    or wait, whatever is there. Raises InvalidGroupingKeyError where ``key`` has a label 'origin'.
    """
    if path is None:
        return []
    try:
        data = _content(path)
    except OSError as error:
        complain(f"can't read $PUSHGATE_METRICS_FILE: {error.strerror}")
        return []
    if len(data) > MAX_BYTES:
        data = data[: data.rfind(b"\n", 0, MAX_BYTES) + 1]
        complain(
            f"$PUSHGATE_METRICS_FILE is over {MAX_BYTES} bytes: only the first"
            f" {data.count(10)} lines of it are used; write less often, or less"
        )
    if not data.strip():
        return []
    from pushgate import METRIC_PREFIX, own_metrics_key, parse_leniently

    families, complaints = parse_leniently(
        data, own_metrics_key(key), reserved_prefix=METRIC_PREFIX
    )
    for complaint in complaints[:_MOST_COMPLAINTS]:
        complain(f"$PUSHGATE_METRICS_FILE, line {complaint.line}: {complaint.text}")
    if (more := len(complaints) - _MOST_COMPLAINTS) > 0:
        complain(f"$PUSHGATE_METRICS_FILE: and {more} more lines")
    return families


def _content(path: str) -> bytes:
    """Return at most one byte more than MAX_BYTES."""
    from pushgate import open_private  # after the command's start

    with open(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read(MAX_BYTES + 1)


def remove(path: str) -> None:
    """Remove the file, if it is there and still a file."""
    with suppress(OSError):
        os.unlink(path)
