"""The file that a job appends its own metrics to, named in `$PUSHGATE_METRICS_FILE`.

Nothing enters; a private file's path leaves before the job starts, and what the job wrote there
after its end. By then the job may have put anything in its place.
"""

from __future__ import annotations

import errno
import os
import stat

from pushgate_subprocess._lean import TYPE_CHECKING

if TYPE_CHECKING:
    from pushgate import Family, GroupingKey

__all__ = ("MAX_BYTES", "create", "read", "remove")

MAX_BYTES = 1_048_576


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
        try:
            os.fchmod(fd, 0o600)  # a umask of 777 would shut the job out
        except OSError:
            pass
        finally:
            os.close(fd)
        return path
    return None


def read(path: str, key: GroupingKey) -> tuple[list[Family], list[str]]:
    """Return the families to push under ``key``, and complaints, each a line for a person.

    The families pass `pushgate.encode`. Doesn't raise, follow a link or wait, whatever is there.
    """
    try:
        data = _content(path)
    except OSError as error:
        return [], [f"can't read $PUSHGATE_METRICS_FILE: {error.strerror}"]
    complaints = []
    if len(data) > MAX_BYTES:
        data = data[: data.rfind(b"\n", 0, MAX_BYTES) + 1]
        lines = data.count(b"\n")
        complaints = [
            f"$PUSHGATE_METRICS_FILE is over {MAX_BYTES} bytes: only the first"
            f" {lines} lines of it are used; write less often, or less"
        ]
    if not data.strip():
        return [], complaints
    from pushgate_subprocess._handoff_text import parse

    try:
        families, more = parse(data, key)
    except Exception as error:  # the outcome's own metrics must be pushed all the same
        return [], [*complaints, f"can't use $PUSHGATE_METRICS_FILE: {error!r}"]
    return families, complaints + more


def _content(path: str) -> bytes:
    """Return at most one byte more than MAX_BYTES."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no longer a regular file")
        data = bytearray()
        while len(data) <= MAX_BYTES and (more := os.read(fd, MAX_BYTES + 1 - len(data))):
            data += more
        return bytes(data)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove the file, if it is there and still a file."""
    try:  # noqa: SIM105 - contextlib is an import before the child's start
        os.unlink(path)
    except OSError:
        pass
