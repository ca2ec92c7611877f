"""Lines for the worker's log, each said once.

A subject, a text and a level enter; records of the logger ``pushgate`` leave. A worker sets its
logging up after ``worker_init``, so what is said there waits until :meth:`Voice.speak`.
"""

from __future__ import annotations

import logging

__all__ = ("Voice",)

_MAX_SUBJECTS = 200  # a subject may hold a name that comes from outside


class Voice:
    """Says each subject once; keeps it back until told to ``speak``, if built with ``wait``."""

    def __init__(self, *, wait: bool = False) -> None:
        self._waiting: list[tuple[int, str]] | None = [] if wait else None
        self._said: set[str] = set()

    def say(self, subject: str, text: str, level: int = logging.WARNING) -> None:
        """Log ``text``, unless ``subject`` was spoken of. Never raises."""
        if subject in self._said or len(self._said) >= _MAX_SUBJECTS:
            return
        self._said.add(subject)
        if self._waiting is None:
            logging.getLogger("pushgate").log(level, "%s", text)
        else:
            self._waiting.append((level, text))

    def failed(self, doing: str, error: BaseException) -> None:
        """Say that we failed at something, once for each kind of error."""
        kind = f"{type(error).__name__}: {error}"
        self.say(
            f"{doing} {type(error).__name__}",
            f"{doing} failed, which the task does not notice but the metrics may lack: {kind}",
        )

    def speak(self) -> None:
        """Say what waited; from now on nothing waits."""
        waiting, self._waiting = self._waiting, None
        for level, text in waiting or ():
            logging.getLogger("pushgate").log(level, "%s", text)
