"""Keep what the command writes into a stream: the end of it (`Tail`) or all of it (`Spool`).

Opt-in. The engine's one loop reads the pipe, so a grandchild that holds it open keeps neither
signals nor time limits from being served.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from typing import TYPE_CHECKING

from pushgate_subprocess._descriptors import WRITE, pipe, wait_ready

if TYPE_CHECKING:
    from io import FileIO

_CHUNK = 65_536


class Capture:
    """One captured stream; subclasses keep it. `fd` is the pipe's read end, None once closed."""

    def __init__(self) -> None:
        self.fd: int | None = None

    def feed(self, data: bytes) -> None:
        """Keep `data`."""
        raise NotImplementedError

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
        self.feed(data)
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


class Tail(Capture):
    """Keeps the last `limit` bytes. Raises ValueError for a negative limit."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        if limit < 0:
            raise ValueError(f"a tail of {limit} bytes: give 0 or more")
        self._limit = limit
        self._kept = bytearray()

    def feed(self, data: bytes) -> None:
        """Keep the end of `data`."""
        self._kept += data
        if len(self._kept) > self._limit + _CHUNK:
            del self._kept[: len(self._kept) - self._limit]

    def content(self) -> bytes:
        """Return the last `limit` bytes."""
        return bytes(self._kept[max(0, len(self._kept) - self._limit) :])

    def replay(self, fd: int) -> None:
        """Write the last `limit` bytes to the descriptor `fd`, blocking. Raises OSError."""
        _write_all(fd, self.content())


class Spool(Capture):
    """Keeps everything: the first `memory` bytes here, the rest in an unnamed temporary file.

    `lost` counts the bytes that a full disk left no room for: the command goes on all the same.
    """

    def __init__(self, *, memory: int = 1_048_576) -> None:
        super().__init__()
        self.lost = 0
        self._memory = memory
        self._kept = bytearray()
        self._file: FileIO | None = None

    def feed(self, data: bytes) -> None:
        """Keep `data`."""
        if self.lost:  # an end that is missing is better than a gap in the middle
            self.lost += len(data)
        elif self._file is None and len(self._kept) + len(data) <= self._memory:
            self._kept += data
        else:
            self.lost += len(data) - self._write(data)

    def _write(self, data: bytes) -> int:
        written = 0
        try:
            if self._file is None:
                from tempfile import TemporaryFile  # 4 ms, for long output only

                self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as self
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            pass  # a full disk is no reason to disturb the command
        return written

    def replay(self, fd: int) -> None:
        """Write everything that was kept to the descriptor `fd`, blocking.

        Raises OSError when `fd` can't be written, BrokenPipeError when its reader has gone.
        """
        _write_all(fd, bytes(self._kept))
        if self._file is not None:
            self._file.seek(0)
            while data := self._file.read(_CHUNK):
                _write_all(fd, data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another process made the file non-blocking for all who have it
            wait_ready({fd: WRITE}, None)
