"""A disk that fails, or a process that dies, at the write that a test chooses.

In: a function that is told of every write below a folder, before it happens. It may end the
process, or answer with an errno that the write then fails with. Out: the os module of this very
process, wrapped, for as long as it lasts: so it is for processes of a test's own. Nothing is
synced: a process's death does not need it, and it is what would take the time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

Decide = Callable[[str, str], "int | None"]
"""Of the kind of write and the file's base name: an errno to fail with, or None; TEAR for half a
write and then death."""

TEAR = -1
KINDS = ("create", "write", "truncate", "sync", "delete", "mkdir", "rename")


def wrap(folder: str, decide: Decide) -> None:
    """Ask ``decide`` before each write below ``folder``, from now on."""
    below = os.path.join(folder, "")
    names: dict[int, str] = {}  # of open files

    def asked(kind: str, path: Any) -> int | None:
        name = os.fspath(path) if not isinstance(path, int) else names.get(path, "")
        if not f"{name}/".startswith(below):
            return None
        number = decide(kind, os.path.basename(name))
        if number is not None and number != TEAR:
            raise OSError(number, os.strerror(number), name)
        return number

    def before(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *arguments: Any, **options: Any) -> Any:
            if asked(kind, path) == TEAR:
                die()
            return function(path, *arguments, **options)

        return wrapped

    def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT and not os.path.lexists(path) and asked("create", path) == TEAR:
            die()
        fd = open_file(path, flags, *arguments, **options)
        names[fd] = os.fspath(path)
        return fd

    def closed(fd: int) -> None:
        close(fd)
        names.pop(fd, None)

    def wrote(function: Callable[..., int]) -> Callable[..., int]:
        def wrapped(fd: int, data: bytes, *arguments: Any) -> int:
            if asked("write", fd) == TEAR:
                function(fd, data[: len(data) // 2], *arguments)
                die()
            return function(fd, data, *arguments)

        return wrapped

    open_file, close = os.open, os.close
    os.open, os.close = opened, closed
    os.write, os.pwrite = wrote(os.write), wrote(os.pwrite)
    os.ftruncate = before("truncate", os.ftruncate)
    os.unlink = before("delete", os.unlink)
    os.replace, os.rename = before("rename", os.replace), before("rename", os.rename)
    os.mkdir = before("mkdir", os.mkdir)
    os.fsync = before("sync", lambda _fd: None)


def die() -> None:
    """As the OOM killer has it: nothing is closed, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
