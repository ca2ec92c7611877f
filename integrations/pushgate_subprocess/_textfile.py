"""Metrics for node_exporter's textfile collector: one file for each grouping key.

The file is replaced in one step. Families that it holds already and that are not written now stay,
as they do in a Pushgateway after a POST.

https://github.com/prometheus/node_exporter#textfile-collector
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, cast

from pushgate import (
    Family,
    Sample,
    encode,
    end_reports,
    failure,
    locked,
    open_private,
    parse_leniently,
    start_report,
    unlock,
)
from pushgate_subprocess._file_names import stem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pushgate import JobRun, Outcome, Report

_SERIES = ("_bucket", "_count", "_sum")

_MAX_BYTES = 16_777_216
_LONGEST_WAIT = 1.0  # seconds, for another run that writes into the same file


class TextfileSink:
    """Writes a run's reports into ``directory``; ``log`` takes a line for each that fails."""

    def __init__(self, directory: str, log: Callable[[str], object]) -> None:
        self._directory = directory
        self._log = log

    def started(self, run: JobRun) -> None:
        """``run`` has started. A failure is not logged: the end tells it."""
        with contextlib.suppress(Exception):
            _write(self._directory, start_report(run))

    def finished(self, run: JobRun, outcome: Outcome, own: Callable[[], Iterable[Family]]) -> bool:
        """``run`` has ended; whether its outcome was written. ``own`` are the job's own metrics."""
        is_written = False
        try:
            for report in end_reports(run, outcome, own):
                _write(self._directory, report)
                is_written = True
        except Exception as error:
            whose = " the job's own metrics" if is_written else ""
            self._log(failure(f"writing into {self._directory}{whose}", error))
        return is_written


def _write(directory: str, report: Report) -> None:
    """Do to the file of the report's group what the report does to the group in a gateway.

    Raises InvalidPayloadError for what `encode` refuses, and OSError when the directory can't be
    used or holds a file of that name that this function didn't write; the file is then as before.
    """
    key, families = report.key, cast("Sequence[Family]", report.families)
    encode(families, key)  # a textfile has no grouping key, so a clash has to be found before
    labelled = [_labelled(family, key.labels) for family in families]
    path = os.path.join(directory, f"{stem(key)}.prom")
    mark = f"# pushgate {key.path}\n".encode()
    with contextlib.ExitStack() as stack:
        # So that of two runs that end together none writes over what the other has just added.
        # Where there is no lock in time, or no file yet, it is done without.
        with contextlib.suppress(OSError):
            if (fd := locked(path, create=False, wait=_LONGEST_WAIT)) is not None:
                stack.callback(unlock, fd)
        before = _content(path, mark)
        if report.method != "DELETE":
            kept = _kept(before or b"", labelled) if report.method == "POST" else []
            _put(path, mark + encode([*kept, *labelled]).text)
        elif before is not None:
            os.unlink(path)


def _labelled(family: Family, labels: dict[str, str]) -> Family:
    samples = [Sample(s.name, {**(s.labels or {}), **labels}, s.value) for s in family.samples]
    return Family(family.name, family.documentation, family.type, samples)


def _kept(before: bytes, families: list[Family]) -> list[Family]:
    """The families of ``before`` that don't clash with ``families``."""
    taken = {name for family in families for name in _claimed(family)}
    held, _complaints = parse_leniently(before)  # a line that was cut short costs that line
    return [family for family in held if taken.isdisjoint(_claimed(family))]


def _claimed(family: Family) -> set[str]:
    """The names that nothing beside the family may have."""
    names = {family.name, *(sample.name for sample in family.samples)}
    if family.type in ("histogram", "summary"):
        names.update(family.name + suffix for suffix in _SERIES)
    return names


def _content(path: str, mark: bytes) -> bytes | None:
    """What is in the file after its ``mark``; None when there is no file."""
    try:
        fd = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        text = file.read(_MAX_BYTES)
    if text and not text.startswith(mark):
        raise FileExistsError(
            errno.EEXIST, "not written by pushgate: move it, or choose another directory", path
        )
    return text[len(mark) :]


def _put(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.urandom(6).hex()}.tmp"  # the collector reads *.prom only
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o644)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o644)  # the collector is another user, whatever the umask says
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
