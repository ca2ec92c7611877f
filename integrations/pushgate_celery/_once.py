"""Lines for a person, each said once however often its cause comes back.

A subject and a text enter; a warning of the logger ``pushgate`` leaves, which is the worker's
stderr when this runs in the pusher.
"""

from __future__ import annotations

import logging

__all__ = ("Once",)

_MAX_SUBJECTS = 100  # they may hold a name that a task makes up anew each time


class Once:
    """Says what it was not told before about the same subject."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()

    def say(self, subject: tuple[str, ...], text: str) -> None:
        """Log ``text`` as a warning, unless ``subject`` was spoken of."""
        if subject in self._said or len(self._said) > _MAX_SUBJECTS:
            return
        self._said.add(subject)
        if len(self._said) > _MAX_SUBJECTS:
            text += "; more of this kind is not logged"
        logging.getLogger("pushgate").warning("%s", text)
