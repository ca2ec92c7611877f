"""Opt-in capture of one output stream: the end of it (`Tail`) or all of it (`Spool`).

What the child writes enters through a pipe; what is kept leaves as bytes. A `Pump` moves it,
driven by the engine's one loop, so neither a grandchild that holds the pipe open nor a reader
that is slow keeps signals and time limits from being served.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import termios

from pushgate_subprocess._descriptors import READ, WRITE, ready
from pushgate_subprocess._lean import TYPE_CHECKING

if TYPE_CHECKING:
    from io import FileIO

_CHUNK = 65_536


class Tail:
    """Keeps the last `limit` bytes; `copy_to` is a descriptor that gets everything as it comes.

    `total` counts the bytes that came. Raises ValueError for a negative limit.
    """

    __slots__ = ("_kept", "copy_to", "limit", "total")

    def __init__(self, limit: int, *, copy_to: int | None = None) -> None:
        if limit < 0:
            raise ValueError(f"a tail of {limit} bytes: give 0 or more")
        self.limit = limit
        self.copy_to = copy_to
        self.total = 0
        self._kept = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what the child wrote."""
        self.total += len(data)
        self._kept += data
        if len(self._kept) > self.limit + _CHUNK:
            del self._kept[: len(self._kept) - self.limit]

    def content(self) -> bytes:
        """Return the last `limit` bytes."""
        return bytes(self._kept[max(0, len(self._kept) - self.limit) :])

    def replay(self, fd: int) -> None:
        """Write the last `limit` bytes to the descriptor `fd`, blocking. Raises OSError."""
        _write_all(fd, self.content())

    def pump(self, fd: int) -> Pump:
        """Return what moves the stream from the pipe `fd` into this."""
        return Pump(fd, self, self.copy_to)


class Spool:
    """Keeps everything: the first `memory` bytes here, the rest in an unnamed temporary file.

    `lost` counts the bytes that a full disk left no room for: the child goes on all the same.
    """

    __slots__ = ("_file", "_kept", "lost", "memory", "total")

    def __init__(self, *, memory: int = 1_048_576) -> None:
        self.memory = memory
        self.total = 0
        self.lost = 0
        self._kept = bytearray()
        self._file: FileIO | None = None

    def feed(self, data: bytes) -> None:
        """Take what the child wrote."""
        self.total += len(data)
        if self.lost:  # an end that is missing is better than a gap in the middle
            self.lost += len(data)
        elif self._file is None and len(self._kept) + len(data) <= self.memory:
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
            pass  # a full disk is no reason to disturb the child
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

    def close(self) -> None:
        """Forget what was kept."""
        self._kept.clear()
        if self._file is not None:
            self._file.close()

    def pump(self, fd: int) -> Pump:
        """Return what moves the stream from the pipe `fd` into this."""
        return Pump(fd, self, None)


class Pump:
    """Moves one stream from a pipe, whose read end it owns, into a sink and to `copy_to`."""

    __slots__ = ("_copy_to", "_fd", "_left", "_pending", "_sink")

    def __init__(self, fd: int, sink: Tail | Spool, copy_to: int | None) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._sink = sink
        self._copy_to = copy_to
        self._pending = b""
        self._left: int | None = None

    def interest(self) -> dict[int, int]:
        """Return the descriptor this waits for and how, or nothing when it is done."""
        if self._pending and self._copy_to is not None:
            return {self._copy_to: WRITE}
        return {} if self._fd is None else {self._fd: READ}

    def step(self) -> None:
        """Do one read or one write, which doesn't block once `interest` is ready."""
        if self._pending and self._copy_to is not None:
            self._copy(self._copy_to)
        elif self._fd is not None:
            # A pipe that is ready takes PIPE_BUF bytes without blocking, by POSIX. Its mode can't
            # be changed: it is shared with whoever else has it open.
            size = _CHUNK if self._copy_to is None else select.PIPE_BUF
            self._read(self._fd, size if self._left is None else min(size, self._left))

    def finish(self) -> None:
        """The child has ended: what is in the pipe now is its own, what comes later is not."""
        if self._fd is not None:
            count = bytearray(4)
            fcntl.ioctl(self._fd, termios.FIONREAD, count)
            self._left = int.from_bytes(count, sys.byteorder)
            if self._left == 0:
                self.close()

    def close(self) -> None:
        """Stop reading: whoever still writes gets SIGPIPE."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _read(self, fd: int, size: int) -> None:
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return
        self._sink.feed(data)
        if self._copy_to is not None:
            self._pending = data
        if self._left is not None:
            self._left -= len(data)
        if not data or self._left == 0:
            self.close()

    def _copy(self, fd: int) -> None:
        try:
            self._pending = self._pending[os.write(fd, self._pending) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._pending = b""
            self._copy_to = None
            if error.errno == errno.EPIPE:
                self.close()  # so that the child finds out as it would have, by SIGPIPE


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # somebody made the file non-blocking for all who have it open
            ready({fd: WRITE}, None)
