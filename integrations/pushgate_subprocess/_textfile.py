"""Metrics for node_exporter's textfile collector: one file for each grouping key.

The file is replaced in one step. Families that it holds already and that are not written now stay,
as they do in a Pushgateway after a POST.

https://github.com/prometheus/node_exporter#textfile-collector
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from pushgate import (
    Family,
    Sample,
    Status,
    encode,
    end_families,
    failure,
    own_metrics_key,
    parse_leniently,
    start_families,
)
from pushgate_subprocess._file_names import stem
from pushgate_subprocess._lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pushgate import GroupingKey, JobRun, Outcome

__all__ = ("TextfileSink",)

_SERIES = ("_bucket", "_count", "_sum")

_MAX_BYTES = 16_777_216
_LONGEST_WAIT = 1.0  # seconds, for another run that writes into the same directory


class TextfileSink:
    """Writes a run's reports into ``directory``; ``log`` takes a line for each that fails."""

    def __init__(self, directory: str, log: Callable[[str], object]) -> None:
        self._directory = directory
        self._log = log

    def started(self, run: JobRun) -> None:
        """``run`` has started. A failure is not logged: the end tells it."""
        with contextlib.suppress(Exception):
            _write(self._directory, run.key, start_families(run))

    def finished(self, run: JobRun, outcome: Outcome, own: Callable[[], Iterable[Family]]) -> bool:
        """``run`` has ended; whether its outcome was written. ``own`` are the job's own metrics."""
        what = f"writing into {self._directory}"
        try:
            _write(self._directory, run.key, end_families(run, outcome))
        except Exception as error:
            self._log(failure(what, error))
            return False
        try:
            if (families := list(own())) or outcome.status is Status.SUCCESS:
                _write(self._directory, own_metrics_key(run.key), families, replace=True)
        except Exception as error:
            self._log(failure(f"{what} the job's own metrics", error))
        return True


def _write(
    directory: str,
    key: GroupingKey,
    families: Iterable[Family],
    *,
    replace: bool = False,
) -> None:
    """Put ``families`` into the file of ``key`` in ``directory``, every sample with key's labels.

    With ``replace`` nothing else stays there, as after a PUT, and no families mean no file.

    Raises InvalidPayloadError for what `encode` refuses, and OSError when the directory can't be
    used or holds a file of that name that this function didn't write; the file is then as before.
    """
    families = list(families)
    encode(families, key)  # a textfile has no grouping key, so a clash has to be found before
    labelled = [_labelled(family, key.labels) for family in families]
    path = os.path.join(directory, f"{stem(key)}.prom")
    mark = f"# pushgate {key.path}\n".encode()
    with _alone(directory):
        before = _content(path, mark)
        if replace and not families:
            if before is not None:
                os.unlink(path)
            return
        kept = [] if replace else _kept(before or b"", labelled)
        _put(path, mark + encode([*kept, *labelled]).text)


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
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        text = file.read(_MAX_BYTES) if regular else b""
    if not regular or (text and not text.startswith(mark)):
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


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Keep two runs that end together from writing over what the other has just added.

    Where that can't be had (a directory that can't be listed, a network file system) or takes
    too long, it is done without.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            try_lock(fd, time.monotonic() + _LONGEST_WAIT)
        yield
