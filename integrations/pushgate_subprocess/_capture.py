"""Keep what the command writes into one stream, all of it or the end of it.

Opt-in. The engine's one loop reads the pipe, so a grandchild that holds it open keeps neither
signals nor time limits from being served.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from contextlib import suppress

from pushgate_subprocess._descriptors import WRITE, pipe, wait_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO

_CHUNK = 65_536
_MOST_IN_MEMORY = 1_048_576


class Capture:
    """One captured stream: its last `limit` bytes, or everything where that is None.

    Of everything, a mebibyte is kept in memory and the rest in an unnamed file in $TMPDIR or
    /var/tmp; `lost` counts the bytes that a full disk left no room for: the command goes on all the
    same.
    `fd` is the pipe's read end, None once closed.
    """

    def __init__(self, limit: int | None) -> None:
        self.fd: int | None = None
        self.lost = 0
        self._limit = limit
        self._kept = bytearray()
        self._file: FileIO | None = None

    def open(self) -> int:
        """Open the pipe; return its write end, which is for the command. Raises OSError."""
        self.fd, write_end = pipe()
        os.set_blocking(self.fd, False)
        return write_end

    def read(self, size: int = _CHUNK) -> bool:
        """Read once what is in the pipe; whether that was anything."""
        if self.fd is None:
            return False
        try:
            data = os.read(self.fd, size)
        except BlockingIOError:
            return False
        if not data:
            self.close()
        self._keep(data)
        return bool(data)

    def finish(self) -> None:
        """The command has ended: what is in the pipe now is its own, what comes later is not."""
        if self.fd is not None:
            count = bytearray(4)
            fcntl.ioctl(self.fd, termios.FIONREAD, count)
            left = int.from_bytes(count, sys.byteorder)
            while left > 0 and self.read(size := min(left, _CHUNK)):
                left -= size
            self.close()

    def close(self) -> None:
        """Stop reading: a process that still writes gets SIGPIPE."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def content(self) -> bytes:
        """Return what is kept in memory, which is all of it where there is a limit."""
        self._cut()
        return bytes(self._kept)

    def replay(self, fd: int) -> None:
        """Write what was kept to the descriptor `fd`, blocking.

        Raises OSError when `fd` can't be written, BrokenPipeError when its reader has gone.
        """
        _write_all(fd, self.content())
        if self._file is not None:
            self._file.seek(0)
            while data := self._file.read(_CHUNK):
                _write_all(fd, data)

    def _keep(self, data: bytes) -> None:
        if self._limit is not None:
            self._kept += data
            if len(self._kept) > self._limit + _CHUNK:
                self._cut()
        elif self.lost:  # an end that is missing is better than a gap in the middle
            self.lost += len(data)
        elif self._file is None and len(self._kept) + len(data) <= _MOST_IN_MEMORY:
            self._kept += data
        else:
            self.lost += len(data) - self._write(data)

    def _cut(self) -> None:
        if self._limit is not None:
            del self._kept[: max(0, len(self._kept) - self._limit)]

    def _write(self, data: bytes) -> int:
        written = 0
        try:
            if self._file is None:
                self._file = _temporary_file()
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            pass  # a full disk is no reason to disturb the command
        return written


def _temporary_file() -> FileIO:
    """A file on a disk, if there is one: /tmp is often memory, which the job would pay for."""
    from tempfile import TemporaryFile  # 4 ms, for long output only

    with suppress(OSError):
        folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - the file has no name
        return TemporaryFile(buffering=0, dir=folder)
    return TemporaryFile(buffering=0)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another process made the file non-blocking for all who have it
            wait_ready([fd], None, events=WRITE)
