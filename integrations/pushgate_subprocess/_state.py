"""What the next run of a job must know of this one: a small file for each job.

A run under a wrapper holds a lock on the file, which ends with the wrapper however that dies: a
file that says that a run goes on, and that nobody holds, tells of a run that vanished. Nothing here
raises for a file that can't be used: there is then no state, and a line that says why.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pushgate import locked, state_directory, unlock
from pushgate_subprocess._file_names import stem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import GroupingKey

    Complain = Callable[[str], object]

# Overwritten in place, at one length: a new file moved over it would not be the one locked, and
# so few bytes of one sector are there as a whole or not at all.
_SIZE = 96
_RECORD = re.compile(
    rb"pushgate 2 (idle|wrapped|script) started=(\d{1,15}\.\d{9}) own_metrics=([01?]) *\n"
)
_OWN_METRICS = {b"0": False, b"1": True, b"?": None}


class _Record(NamedTuple):
    """What is in the file. ``phase`` is idle, or what began the run that goes on."""

    phase: str = "idle"
    started_at: float = 0.0
    own_metrics: bool | None = None


class State:
    """What is known of the runs before, while this one goes on.

    ``previous_vanished`` is when the run before began (Unix seconds) if it never reported its end.
    ``had_own_metrics`` says whether the gateway may hold metrics of the runs before: None where
    that is not known, as with a file that is new because the disk is.
    """

    def __init__(self, fd: int, before: _Record, record: _Record, complain: Complain) -> None:
        self._fd: int | None = fd
        self._record = record
        self._complain = complain
        self.had_own_metrics = before.own_metrics
        self.previous_vanished = None if before.phase == "idle" else before.started_at
        _held.add(self)

    def end(self, own_metrics: bool | None) -> None:
        """The run has ended, and its end was dealt with. A second call does nothing."""
        if self._fd is None:
            return
        try:
            _write(self._fd, self._record._replace(phase="idle", own_metrics=own_metrics))
        except OSError as error:
            self._complain(f"can't note the end of this run: {error.strerror}")
            with suppress(OSError):  # to have forgotten it all beats a false alarm
                os.ftruncate(self._fd, 0)
        self.let_go()

    def let_go(self, *, is_fork: bool = False) -> None:
        """Give the file back, as it is. In a fork only close it: the lock is the parent's."""
        fd, self._fd = self._fd, None
        _held.discard(self)
        if fd is not None:
            with suppress(OSError):
                (os.close if is_fork else unlock)(fd)


_held: set[State] = set()


def _close_in_child() -> None:
    for state in tuple(_held):
        state.let_go(is_fork=True)


os.register_at_fork(after_in_child=_close_in_child)


def begin(
    key: GroupingKey, started_at: float, complain: Complain, *, phase: str = "wrapped"
) -> State | None:
    """A run of the job ``key`` began at ``started_at`` (Unix seconds) under this process.

    With ``phase`` "script" it is one that `take_started` ends: let the state go.

    Returns None when another run of the job goes on, whose state this is, or when there is no
    state to be had; ``complain`` then gets the reason.
    """
    fd = _open(key, complain)
    if fd is None:
        return None
    try:
        before = _read(fd)
        record = _Record(phase, started_at, before.own_metrics)
        _write(fd, record)
    except OSError as error:
        complain(f"can't note the start of this run: {error.strerror}")
        unlock(fd)
        return None
    return State(fd, before, record, complain)


def take_started(key: GroupingKey, complain: Complain) -> float | None:
    """Return when the run of a script began that `begin` has noted, and note that it has ended.

    None when there is no such run, or no state to be had; ``complain`` then gets the reason.
    """
    fd = _open(key, complain)
    if fd is None:
        return None
    try:
        record = _read(fd)
        if record.phase != "script":
            return None
        _write(fd, record._replace(phase="idle"))
    except OSError as error:
        complain(f"can't note the end of this run: {error.strerror}")
        return None
    finally:
        unlock(fd)
    return record.started_at


def _open(key: GroupingKey, complain: Complain) -> int | None:
    """The job's file, locked; None when another run holds it, or ``complain`` knows why."""
    directory = ""
    try:
        directory = state_directory(os.environ)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        return locked(os.path.join(directory, f"{stem(key)}.state"), create=True, wait=0)
    except OSError as error:
        complain(
            f"no state is kept in {directory or 'a home directory'}: {error.strerror};"
            " set PUSHGATE_STATE_DIR to a directory of your own"
        )
        return None


def _read(fd: int) -> _Record:
    """What is in the file; nothing, when somebody else has written there."""
    found = _RECORD.fullmatch(content := os.pread(fd, _SIZE + 1, 0))
    if not found or len(content) != _SIZE:
        return _Record()
    return _Record(found[1].decode(), float(found[2]), _OWN_METRICS[found[3]])


def _write(fd: int, record: _Record) -> None:
    own_metrics = "?" if record.own_metrics is None else f"{record.own_metrics:d}"
    text = f"pushgate 2 {record.phase} started={record.started_at:.9f} own_metrics={own_metrics}"
    data = text.ljust(_SIZE - 1).encode() + b"\n"
    if os.pwrite(fd, data, 0) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(fd, _SIZE)
