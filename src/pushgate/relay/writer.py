"""The writers' end of the pipe, for any process and thread that has it.

It uses ``posix.write``, because eventlet replaces ``os.write`` by one that loses records when two
greenlets write. It has no lock: a fork could copy a held one, and a signal handler that writes
would wait for it for ever. A record or a count belongs to the thread that popped it from its deque;
pop and append are atomic.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from .records import STOP, dropped_line, record_line

with suppress(ImportError):  # on Windows, as in relay.py
    import posix

if TYPE_CHECKING:
    from .descriptor import Descriptor

_MAX_WAITING = 1000  # records, in each process


class _Local:
    """The records and counts that one process has not written yet."""

    __slots__ = ("checked", "complained", "drops", "waiting")

    def __init__(self) -> None:
        self.checked = False  # whether the descriptor is still the pipe in this process
        self.complained = False
        self.waiting: deque[bytes] = deque()
        # Counts of dropped records, whose sum counts: one each of the threads that dropped some at
        # the same time.
        self.drops: deque[int] = deque()

    def drop(self, count: int = 1) -> None:
        with suppress(IndexError):
            count += self.drops.pop()
        self.drops.append(count)


class Writer:
    """Writes records to a pipe's non-blocking write end, until the caller closes that."""

    def __init__(self, pipe: Descriptor) -> None:
        self._pipe = pipe
        self._local = _Local()

    def begin_anew(self) -> None:
        """In a forked child: what waits is its parent's."""
        self._local = _Local()

    def write(self, record: object) -> bool:
        """Write the record, or keep it for later; False if it was dropped. Never blocks or raises.

        Only a signal handler's exception comes through, for example Celery's soft time limit, which
        must reach the task.
        """
        local = self._local
        try:
            line = record_line(record)
        except (TypeError, ValueError) as error:
            return self._drop(local, f"a record that can't be written was dropped: {error}")
        if local.checked and not local.waiting and not local.drops:
            try:
                posix.write(self._pipe.number, line)  # all of it or nothing
            except OSError:
                pass  # no room, most likely
            else:
                return True
        return self._write_last(local, line)

    def stop(self) -> bool:
        """Write that the relay was closed, after all that waits. Whether it is written."""
        return self.flush() and self._try(STOP)

    def flush(self) -> bool:
        """Write what waits and how much was dropped, if there is room. Whether all is written."""
        local = self._local
        while True:
            try:
                line = local.waiting.popleft()
            except IndexError:
                break
            if not self._try(line):
                local.waiting.appendleft(line)
                return False
        try:
            count = local.drops.pop()
        except IndexError:
            return True
        if not self._try(dropped_line(count)):
            local.drop(count)
            return False
        return self.flush() if local.drops else True

    def _write_last(self, local: _Local, line: bytes) -> bool:
        if not local.checked:
            local.checked = self._pipe.check() or self._pipe.reopen()
        if self._pipe.number < 0:
            return False
        if self.flush() and self._try(line):
            return True
        if len(local.waiting) < _MAX_WAITING:
            local.waiting.append(line)
            return True
        return self._drop(local, "the pusher does not keep up, records are dropped and counted")

    def _try(self, line: bytes) -> bool:
        try:
            posix.write(self._pipe.number, line)
        except OSError as error:
            if error.errno != errno.EBADF or not self._pipe.reopen():
                return False
            return self._try(line)
        return True

    def _drop(self, local: _Local, why: str) -> bool:
        local.drop()
        if not local.complained:
            local.complained = True
            with suppress(OSError, ValueError):  # of a log that can't be written
                logging.getLogger("pushgate").warning("%s", why)
        return False
