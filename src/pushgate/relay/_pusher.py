"""The pusher process: what it is to the system, from its bootstrap to its exit.

Enters: the configuration, from the bootstrap. Leaves: a running Pusher, an answer to who started
it, and an exit once all is delivered or the time for it is over.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..settings.loader import Settings
from ._loading import load
from ._loops import Pusher
from ._process import ANSWER, CHANNEL, IGNORED
from ._said import Said, describe, log_to_stderr, to_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("main",)


def main(configuration: Mapping[str, Any]) -> None:
    """Be the pusher of ``start_pusher``'s configuration; never returns."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _close_all_from(CHANNEL + 1)
    log_to_stderr()
    code = 1
    try:
        pusher = _make(configuration)
        _answer("")
        pusher.run()
        code = 0
    except BaseException as error:
        to_stderr(f"the pusher failed: {describe(error)}")
        _answer(describe(error))
    finally:
        os._exit(code)  # a push that hangs must not keep the process


def _make(configuration: Mapping[str, Any]) -> Pusher:
    settings = Settings(**configuration["settings"])
    said = Said(to_stderr)
    return Pusher(
        load(configuration["aggregator"], configuration["options"]),
        # Trying again is what the schedule does, with newer values.
        settings._replace(retries=0).to_gateway(),
        interval=configuration["interval"],
        linger=configuration["linger"],
        timeout=settings.timeout,
        said=said,
        outbox=settings.to_outbox(lambda text: said.once(text, time.monotonic())),
    )


def _answer(text: str) -> None:
    """Tell who started us that we have begun, or why not."""
    with suppress(OSError):
        line = f"{ANSWER}{' '.join(text.split())}\n"
        os.write(CHANNEL, line.encode("utf-8", "backslashreplace"))


def _close_all_from(lowest: int) -> None:
    """What we inherited might be a socket, or a pipe's end whose closing somebody waits for."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
        return
    for number in numbers:
        if number >= lowest:
            with suppress(OSError):
                os.close(number)
