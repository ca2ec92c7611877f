"""The file that a job appends its own metrics to, named in `$PUSHGATE_METRICS_FILE`.

It is made before the job starts and read after its end. By then the job may have put anything in
its place. A wrapper starts its command before it imports more, so little is imported here.
"""

from __future__ import annotations

import os
from _thread import start_new_thread
from contextlib import suppress

with suppress(ImportError):  # on Windows there is no wrapper
    import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.families import Family
    from ..protocol.grouping_key import GroupingKey

_MAX_BYTES = 1_048_576
_MOST_SERIES = 10_000  # 60,000 in one group make each push to the gateway take more than a second
_MOST_COMPLAINTS = 20
_PREFIX, _SUFFIX = "pushgate-", ".prom"


class MetricsFile:
    """The file of one run, empty and for this user alone; ``path`` is None where there is none.

    It is in ``$TMPDIR``, /tmp or /dev/shm, and in memory where none of them can be written, as on
    a read-only disk. Its name tells its inode, and this process holds a lock on it: a file under
    such a name that nobody holds is left over of a run that was killed. (A file that the job moves
    there has another inode.)
    """

    def __init__(self) -> None:
        self.path: str | None = None
        self._fd: int | None = None
        self._is_in_memory = False
        for folder in (os.environ.get("TMPDIR"), "/tmp", "/dev/shm"):  # noqa: S108 - O_EXCL
            if folder:
                with suppress(OSError):
                    self._make_in(os.path.abspath(folder))  # the job may change directory
                    return
        with suppress(OSError, AttributeError):  # no Linux, or no /proc
            self._make_in_memory()

    def read(self, key: GroupingKey, complain: Callable[[str], object]) -> list[Family]:
        """Return what the job wrote, as families of its own group beside the group ``key``.

        ``complain`` takes a line for each line of the file that can't be used. Doesn't follow a
        link or wait, whatever is there. Raises InvalidGroupingKeyError where ``key`` has a label
        'origin'.
        """
        try:
            data = self._content()
        except OSError as error:
            complain(f"can't read $PUSHGATE_METRICS_FILE: {error.strerror}")
            return []
        return _families(data, key, complain)

    def remove_leftovers(self) -> None:
        """Remove the files of killed runs in the same folder, in a thread of its own."""
        if self.path is not None and not self._is_in_memory:
            with suppress(RuntimeError):  # the limit on threads is reached
                start_new_thread(_remove_leftovers, (os.path.dirname(self.path),))

    def remove(self) -> None:
        """Remove the file, if it is there and still a file."""
        if self.path is not None and not self._is_in_memory:
            with suppress(OSError):
                os.unlink(self.path)
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _make_in(self, folder: str) -> None:
        end = f"{os.urandom(8).hex()}{_SUFFIX}"
        path = os.path.join(folder, f"{_PREFIX}{end}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = _above_standard_streams(os.open(path, flags, 0o600))
        self.path = path
        with suppress(OSError):  # where no lock can be had, the name does not say that there is one
            os.fchmod(self._fd, 0o600)  # a umask of 777 would shut the job out
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            named = os.path.join(folder, f"{_PREFIX}{os.fstat(self._fd).st_ino}-{end}")
            os.rename(path, named)
            self.path = named

    def _make_in_memory(self) -> None:
        self._fd = _above_standard_streams(os.memfd_create("pushgate-metrics"))
        self._is_in_memory = True
        # Not os.getpid(): /proc may be that of another PID namespace.
        path = f"/proc/{os.readlink('/proc/self')}/fd/{self._fd}"
        if os.path.samestat(os.stat(path), os.fstat(self._fd)):
            self.path = path

    def _content(self) -> bytes:
        """Return at most one byte more than _MAX_BYTES."""
        if self.path is None or self._fd is None:
            return b""
        if self._is_in_memory:
            return os.pread(self._fd, _MAX_BYTES + 1, 0)
        from ..outbox.files import open_private  # after the command's start

        with open(open_private(self.path, os.O_RDONLY), "rb") as file:
            return file.read(_MAX_BYTES + 1)


def _above_standard_streams(fd: int) -> int:
    """``fd`` or a duplicate: where a standard stream is closed, the job would inherit the file."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _remove_leftovers(folder: str) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            inode, is_ours, _ = entry.name.removeprefix(_PREFIX).partition("-")
            if is_ours and entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _remove_leftover(entry.path, inode)


def _remove_leftover(path: str, inode: str) -> None:
    from ..outbox.files import open_private

    fd = open_private(path, os.O_RDWR)  # on NFS, a lock needs a descriptor for writing
    try:
        found = os.fstat(fd)
        if found.st_uid == os.geteuid() and str(found.st_ino) == inode:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(fd)


def _families(data: bytes, key: GroupingKey, complain: Callable[[str], object]) -> list[Family]:
    if len(data) > _MAX_BYTES:
        data = data[: data.rfind(b"\n", 0, _MAX_BYTES) + 1]
        complain(
            f"$PUSHGATE_METRICS_FILE is over {_MAX_BYTES} bytes: only the first"
            f" {data.count(10)} lines of it are used; write less often, or less"
        )
    if not data.strip():
        return []
    from ..jobs.own_metrics import own_metrics_key
    from ..protocol.lenient_parse import parse_leniently
    from ..protocol.timestamps import METRIC_PREFIX

    families, complaints = parse_leniently(
        data, own_metrics_key(key), reserved_prefix=METRIC_PREFIX
    )
    for complaint in complaints[:_MOST_COMPLAINTS]:
        complain(f"$PUSHGATE_METRICS_FILE, line {complaint.line}: {complaint.text}")
    if (more := len(complaints) - _MOST_COMPLAINTS) > 0:
        complain(f"$PUSHGATE_METRICS_FILE: and {more} more lines")
    fitting, count = [], 0
    for family in families:
        count += len(family.samples)
        if count <= _MOST_SERIES:
            fitting.append(family)
    if count > _MOST_SERIES:
        complain(
            f"$PUSHGATE_METRICS_FILE has {count} series, and would slow the gateway down for all:"
            f" only metrics of {_MOST_SERIES} series are used; give them fewer names or labels"
        )
    return fitting
