"""The outbox of this host: whether it can be written, and what waits there. Nothing is made."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ..jobs.ages import roughly
from ._check import FAIL, OK, WARN, Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..outbox import Outbox
    from ..settings.loader import Settings

__all__ = ("check_outbox",)


def check_outbox(settings: Settings) -> Iterator[Check]:
    """Where it is, whether it can be used, what waits."""
    said: list[str] = []
    outbox = settings.to_outbox(said.append)
    if outbox is not None:
        yield from _check(outbox, settings)
    elif settings.outbox == "off":
        yield Check(OK, "outbox", "it is switched off: what can't be delivered is lost")
    for text in said:
        yield Check(WARN, "outbox", text)


def _check(outbox: Outbox, settings: Settings) -> Iterator[Check]:
    path = os.fspath(outbox.path)
    if not _can_write(path):
        yield Check(
            FAIL,
            "outbox",
            f"{path} can't be written",
            "have it writable by the user who runs the jobs, or set PUSHGATE_OUTBOX elsewhere",
        )
        return
    if outbox.is_empty():
        yield Check(OK, "outbox", f"nothing waits in {path}")
        return
    waiting = outbox.waiting()
    here = [group for group in waiting if group.url == settings.url]
    if not waiting:
        yield Check(OK, "outbox", f"nothing waits in {path}")
    if here:
        oldest = roughly(time.time() - min(group.since for group in here))
        error = next((group.last_error for group in here if group.last_error), None)
        yield Check(
            WARN,
            "outbox",
            f"groups that wait in {path}: {len(here)}, the oldest for {oldest}"
            + (f"; the last error: {error}" if error else ""),
            "pushgate flush delivers them now; so does the next push that succeeds",
        )
    if others := sorted({group.url for group in waiting} - {settings.url or ""}):
        yield Check(
            WARN,
            "outbox",
            f"{len(waiting) - len(here)} groups wait for other gateways: {', '.join(others)}",
            "pushgate flush --gateway URL delivers them",
        )


def _can_write(path: str) -> bool:
    if os.path.exists(path):
        return os.path.isfile(path) and os.access(path, os.W_OK)
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(folder):  # what there is of it has to let us make the rest
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
