"""Notes that could not wait for their turn to write to the database: a file for each.

Enters: notes. Leaves: the same, to whoever has the next turn, in the order of their times. A
hundred jobs that give up on a gateway in the same moment can sync a hundred files to a disk
together, but a database only one after the other.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import suppress
from random import uniform
from typing import TYPE_CHECKING, Any

from ._values import Change, Note

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("is_spooling", "packed", "read", "remove", "unpacked", "write")

_MOST = 10_000  # files; with so many, nobody has had a turn for long
_READY = ".json"
_WRITTEN_IN = 60.0  # seconds; a file that takes longer is given up, and its writer writes another


def folder_of(path: str) -> str:
    """The folder of the outbox ``path``, which is there while a note is."""
    return f"{path}.spool"


def is_spooling(path: str) -> bool:
    """Whether there are notes, or were a moment ago."""
    return os.path.lexists(folder_of(path))


def write(path: str, notes: Iterable[Note]) -> None:
    """Write the notes to one file, all or none. Raises OSError."""
    folder, text = folder_of(path), packed(notes)
    for _ in range(9):
        # Somebody has emptied the folder and removed it, or taken the file for a dead one's.
        # makedirs says FileExistsError where the folder goes while it looks.
        with suppress(FileNotFoundError, FileExistsError):
            return _write(folder, text)
        time.sleep(uniform(0, 0.002))  # noqa: S311 - no secret
    return _write(folder, text)


def _write(folder: str, text: bytes) -> None:
    name = os.path.join(folder, f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if len(os.listdir(folder)) >= _MOST:
        raise OSError(errno.EBUSY, "another process has had it for long")
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
            os.rename(name, name + _READY)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def read(path: str) -> tuple[list[Note], list[str]]:
    """All notes, and the files that they are in, to be removed once they are in the database."""
    folder, notes, files = folder_of(path), [], []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], []
    for name in names:
        file = os.path.join(folder, name)
        if not name.endswith(_READY):  # it is being written, or its writer was killed
            if _is_old(file):
                files.append(file)
            continue
        try:
            with open(file, "rb") as opened:
                notes += unpacked(opened.read())
        except FileNotFoundError:
            continue
        except ValueError:  # nothing of ours; out of the folder, which has to be empty at last
            os.rename(file, f"{path}.broken-{name}")
            continue
        files.append(file)
    return notes, files


def _is_old(file: str) -> bool:
    try:
        age = time.time() - os.stat(file).st_mtime
    except FileNotFoundError:
        return False
    return not -_WRITTEN_IN < age < _WRITTEN_IN


def remove(path: str, files: Iterable[str]) -> None:
    """Remove these, and the folder if nothing is left in it."""
    for file in files:
        with suppress(OSError):
            os.unlink(file)
    with suppress(OSError):
        os.rmdir(folder_of(path))


def packed(notes: Iterable[Note]) -> bytes:
    """The notes as a text."""
    return json.dumps([_as_json(note) for note in notes]).encode()


def unpacked(text: bytes) -> list[Note]:
    """What ``packed`` was given. Raises ValueError for another text."""
    try:
        return [_from_json(entry) for entry in json.loads(text)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("not a list of notes") from error


def _as_json(note: Note) -> dict[str, Any]:
    bodies = {name: body.decode("latin-1") for name, body in note.change.families.items()}
    return {**note._asdict(), "change": {**note.change._asdict(), "families": bodies}}


def _from_json(entry: dict[str, Any]) -> Note:
    change = Change(**entry.pop("change"))
    bodies = {name: text.encode("latin-1") for name, text in change.families.items()}  # type: ignore[attr-defined]
    unanswered = tuple((name, fingerprint) for name, fingerprint in entry.pop("unanswered"))
    return Note(**entry, change=change._replace(families=bodies), unanswered=unanswered)
