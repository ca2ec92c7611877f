"""Checks the outbox of this host: whether it can be written, and what waits. Creates nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ..jobs.ages import counted, roughly
from ..log import RateLimitedLogger
from .finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..outbox.outbox import Outbox
    from ..settings.loader import Settings


def check_outbox(settings: Settings) -> Iterator[Finding]:
    """Where it is, whether it can be written, what waits."""
    lines: list[str] = []
    outbox = settings.to_outbox(RateLimitedLogger(lines.append))
    if outbox is not None:
        yield from _check(outbox, settings)
    elif settings.outbox == "off":
        yield ok("outbox", "it is switched off: what can't be delivered is lost")
    for line in lines:
        yield warn("outbox", line, "")


def _check(outbox: Outbox, settings: Settings) -> Iterator[Finding]:
    path = os.fspath(outbox.path)
    if not _can_write(path):
        yield fail(
            "outbox",
            f"{path} can't be written",
            "make it writable for the user who runs the jobs, or set PUSHGATE_OUTBOX",
        )
        return
    waiting = outbox.waiting()
    here = [group for group in waiting if group.url == settings.url]
    if not waiting:
        yield ok("outbox", f"nothing waits in {path}")
    if here:
        oldest = roughly(time.time() - min(group.since for group in here))
        error = next((group.last_error for group in here if group.last_error), None)
        yield warn(
            "outbox",
            f"waiting in {path}: {counted(len(here), 'group')}, the oldest for {oldest}"
            + (f"; the last error: {error}" if error else ""),
            "pushgate flush delivers them now; so does the next push that succeeds",
        )
    if others := sorted({group.url for group in waiting} - {settings.url or ""}):
        elsewhere = counted(len(waiting) - len(here), "group")
        yield warn(
            "outbox",
            f"waiting for other gateways: {elsewhere}, for {', '.join(others)}",
            "pushgate flush --gateway URL delivers them",
        )


def _can_write(path: str) -> bool:
    path = os.path.abspath(path)
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        return False
    while not os.path.exists(path):  # the first folder that exists must let us make the others
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
