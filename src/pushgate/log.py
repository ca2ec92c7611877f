"""Lines for a person about what keeps happening, each written once in a while."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

_ERROR, _WARNING, _INFO = 40, 30, 20  # logging's numbers; importing logging takes 8 ms
_REMEMBERED = 1000  # subjects; they may hold names that come from outside
_LONGEST_WAIT = 1.0  # seconds, for another thread that writes


class RateLimitedLogger:
    """Writes one line for each subject in ``interval`` seconds, however often it is told.

    ``write`` is called with the line; without it, the line goes to the logger ``pushgate``.
    ``held`` keeps all lines back until :meth:`release`: for a process that has not set up its
    logging yet. ``clock`` gives seconds of a monotonic clock. Safe to share between threads.
    Never raises, also where ``write`` does.
    """

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        *,
        interval: float = 3600.0,
        held: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._interval = interval
        self._clock = clock
        self._held: list[tuple[int, str]] | None = [] if held else None
        self._written_at: dict[Hashable, float] = {}
        self._counts: dict[Hashable, int] = {}
        self._silenced = False
        self._lock = threading.RLock()  # a signal's handler may log, too, at any moment

    def warning(self, text: str, *, subject: Hashable = None, count: int = 0) -> bool:
        """Write ``text`` as a warning: whether that was done.

        ``subject`` is what the line is about, the text itself by default. ``{count}`` in the text
        is replaced by the sum of ``count`` since the subject's last line.
        """
        return self._log(_WARNING, text, subject, count)

    def error(self, text: str, *, subject: Hashable = None) -> bool:
        """Write ``text`` as an error: whether that was done."""
        return self._log(_ERROR, text, subject, 0)

    def info(self, text: str, *, subject: Hashable = None) -> bool:
        """Write ``text`` as information: whether that was done."""
        return self._log(_INFO, text, subject, 0)

    def release(self) -> None:
        """Write the lines that were held back. From now on none is held back."""
        with self._locked():
            held, self._held = self._held or [], None
        for level, text in held:
            self._emit(level, text)

    def silence(self, last_line: str | None = None) -> None:
        """Write ``last_line``, and nothing from then on: threads that were left behind are late."""
        with self._locked():
            was_silenced, self._silenced = self._silenced, True
        if last_line and not was_silenced:
            self._emit(_WARNING, last_line)

    def _log(self, level: int, text: str, subject: Hashable, count: int) -> bool:
        key = text if subject is None else subject
        with self._locked():
            if self._silenced:
                return False
            now = self._clock()
            count += self._counts.pop(key, 0)
            if now < self._written_at.get(key, float("-inf")) + self._interval:
                self._counts[key] = count
                return False
            if len(self._written_at) >= _REMEMBERED:
                self._written_at.clear()
                self._counts.clear()
            self._written_at[key] = now
            line = text.replace("{count}", str(count))
            if self._held is not None:
                self._held.append((level, line))
                return True
        self._emit(level, line)
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """After a fork, a thread that is not there may hold the lock: wait a moment, and go on."""
        is_ours = self._lock.acquire(timeout=_LONGEST_WAIT)
        try:
            yield
        finally:
            if is_ours:
                self._lock.release()

    def _emit(self, level: int, line: str) -> None:
        with suppress(Exception):  # a user's logging filter must not break a job
            if self._write is not None:
                self._write(line)
                return
            import logging

            logging.getLogger("pushgate").log(level, "%s", line)
