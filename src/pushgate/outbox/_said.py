"""What the outbox has to say, each text once in a process and hour. Enters and leaves: lines."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("say_once",)

_AGAIN_AFTER = 3600.0  # seconds
_REMEMBERED = 1000

_said: dict[tuple[object, str], float] = {}


def say_once(text: str, say: Callable[[str], object] | None) -> None:
    """Give ``text`` to ``say``, or log it, unless that was done within the last hour."""
    now = time.monotonic()
    if now < _said.get((say, text), float("-inf")) + _AGAIN_AFTER:
        return
    if len(_said) >= _REMEMBERED:
        _said.clear()
    _said[say, text] = now
    with suppress(Exception):  # nobody's logging filter may break a job
        if say is not None:
            say(text)
        else:
            import logging

            logging.getLogger("pushgate").warning("%s", text)
