"""A disk that fails, or a process that dies, at the write that a test chooses.

In: a function that is told of every write below a folder, before it happens. It may end the
process, or answer with an errno that the write then fails with. Out: SQLite and the os module of
this very process, wrapped. Python only: SQLite's writes go through a VFS that is put over its
default one (https://sqlite.org/vfs.html), those of Python through an audit hook. Both last as long
as the process, so it is for processes of a test's own. Nothing is synced: a process's death does
not need it, and it is what would take the time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from typing import Any

Decide = Callable[[str, str], "int | None"]
"""Of the kind of write and the file's base name: an errno to fail with, or None; TEAR for half a
write and then death."""

TEAR = -1
KINDS = ("create", "write", "truncate", "sync", "delete", "mkdir", "rename", "chmod")


class DiskUnavailableError(RuntimeError):
    """The SQLite of this interpreter can't be wrapped."""


def wrap(folder: str, decide: Decide) -> None:
    """Ask ``decide`` before each write below ``folder``, from now on."""
    _wrap_sqlite(folder, decide)
    _wrap_os(folder, decide)


# https://sqlite.org/c3ref/c_abort.html, https://sqlite.org/rescode.html
_SQLITE_CODES = {
    "create": {errno.EROFS: 14, errno.ENOSPC: 14, errno.EIO: 14},  # CANTOPEN
    "write": {errno.ENOSPC: 13, errno.EIO: 778, errno.EROFS: 8},  # FULL, IOERR_WRITE, READONLY
    "truncate": {errno.ENOSPC: 1546, errno.EIO: 1546, errno.EROFS: 1546},  # IOERR_TRUNCATE
    "sync": {errno.ENOSPC: 1034, errno.EIO: 1034, errno.EROFS: 1034},  # IOERR_FSYNC
    "delete": {errno.ENOSPC: 2570, errno.EIO: 2570, errno.EROFS: 2570},  # IOERR_DELETE
}
_OPEN_CREATE = 0x4

_pointer, _int, _int64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_Write = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, _int64)
_Truncate = ctypes.CFUNCTYPE(_int, _pointer, _int64)
_Sync = ctypes.CFUNCTYPE(_int, _pointer, _int)
# SQLite goes on to use the very memory that the path is in: it is passed on as a pointer.
_Open = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _pointer, _int, _pointer)
_Delete = ctypes.CFUNCTYPE(_int, _pointer, ctypes.c_char_p, _int)


class _Methods(ctypes.Structure):
    """https://sqlite.org/c3ref/io_methods.html, version 3"""

    _fields_ = [
        ("version", _int),
        ("close", _pointer),
        ("read", _pointer),
        ("write", _pointer),
        ("truncate", _pointer),
        ("sync", _pointer),
        *((f"more_{number}", _pointer) for number in range(13)),
    ]


class _VFS(ctypes.Structure):
    """https://sqlite.org/c3ref/vfs.html, version 3"""

    _fields_ = [
        ("version", _int),
        ("file_size", _int),
        ("longest_path", _int),
        ("next", _pointer),
        ("name", ctypes.c_char_p),
        ("data", _pointer),
        ("open", _pointer),
        ("delete", _pointer),
        *((f"more_{number}", _pointer) for number in range(14)),
    ]


_for_ever: list[Any] = []  # what C code points to


def _wrap_sqlite(folder: str, decide: Decide) -> None:
    import _sqlite3

    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
    except (AttributeError, OSError) as error:
        raise DiskUnavailableError(f"no way to SQLite's VFS: {error}") from error
    find.restype = ctypes.POINTER(_VFS)
    found = find(None)
    original = found.contents
    vfs = _VFS()
    ctypes.pointer(vfs)[0] = original
    vfs.name = b"pushgate-tests"
    below = os.path.join(os.path.realpath(folder), "").encode()
    open_file, delete_file = _Open(original.open), _Delete(original.delete)
    tables: dict[tuple[int, bytes], _Methods] = {}

    def opened(_: int, name: int | None, file: int, flags: int, out: int) -> int:
        path = ctypes.string_at(name) if name else b""
        ours = path.startswith(below)
        if ours and flags & _OPEN_CREATE and not os.path.exists(path):
            code = _decided(decide, "create", path)
            if code:
                return code
        code = open_file(ctypes.addressof(original), name, file, flags, out)
        methods = ctypes.cast(file, ctypes.POINTER(_pointer))
        if code == 0 and ours and methods[0]:
            key = (methods[0] or 0, path)
            if key not in tables:
                tables[key] = _table(_Methods.from_address(key[0]), path, decide)
            methods[0] = ctypes.addressof(tables[key])
        return int(code)

    def deleted(_: int, path: bytes, sync: int) -> int:
        if path.startswith(below) and (code := _decided(decide, "delete", path)):
            return code
        return int(delete_file(ctypes.addressof(original), path, 0))

    callbacks = _Open(opened), _Delete(deleted)
    vfs.open, vfs.delete = (ctypes.cast(callback, _pointer).value for callback in callbacks)
    _for_ever.extend((library, vfs, callbacks, tables, open_file, delete_file))
    if register(ctypes.byref(vfs), 1):
        raise DiskUnavailableError("SQLite takes no other VFS")


def _table(original: _Methods, path: bytes, decide: Decide) -> _Methods:
    write, truncate = _Write(original.write), _Truncate(original.truncate)

    def wrote(file: int, data: int, count: int, offset: int) -> int:
        code = _decided(decide, "write", path)
        if code == TEAR:
            write(file, data, count // 2, offset)
            die()
        return code or int(write(file, data, count, offset))

    def truncated(file: int, size: int) -> int:
        return _decided(decide, "truncate", path) or int(truncate(file, size))

    def synced(file: int, flags: int) -> int:
        return _decided(decide, "sync", path)

    table = _Methods()
    ctypes.pointer(table)[0] = original
    callbacks = _Write(wrote), _Truncate(truncated), _Sync(synced)
    table.write, table.truncate, table.sync = (
        ctypes.cast(callback, _pointer).value for callback in callbacks
    )
    _for_ever.extend((callbacks, write, truncate))
    return table


def _decided(decide: Decide, kind: str, path: bytes) -> int:
    number = decide(kind, os.path.basename(path).decode())
    if number == TEAR:
        if kind == "write":
            return TEAR
        die()
    return 0 if number is None else _SQLITE_CODES[kind][number]


_AUDITED = {"os.mkdir": "mkdir", "os.rename": "rename", "os.remove": "delete", "os.chmod": "chmod"}


def _wrap_os(folder: str, decide: Decide) -> None:
    below = os.path.join(os.path.realpath(folder), "")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            kind = "create" if isinstance(flags, int) and flags & os.O_CREAT else ""
        else:
            path, kind = (arguments or ("",))[0], _AUDITED.get(event, "")
        if not kind or not isinstance(path, (str, bytes)):
            return
        name = os.fsdecode(path)
        if not f"{name}/".startswith(below) or (
            kind in ("create", "mkdir") and os.path.exists(name)
        ):
            return
        number = decide(kind, os.path.basename(name))
        if number == TEAR:
            die()
        if number is not None:
            raise OSError(number, os.strerror(number), name)

    sys.addaudithook(hook)


def die() -> None:
    """As the power of the OOM killer has it: nothing is closed, nothing is flushed."""
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
