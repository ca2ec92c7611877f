"""The pusher process, from its bootstrap to its exit."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..log import RateLimitedLogger
from ..settings.loader import Settings
from .aggregator import load_aggregator
from .pusher import Pusher
from .pusher_process import ANSWER, CHANNEL, IGNORED
from .sender import Sender
from .standard_error import describe, log_to_stderr, to_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping


def main(configuration: Mapping[str, Any]) -> None:
    """Run the pusher with the configuration of ``start_pusher``. Never returns."""
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
    log = RateLimitedLogger()
    outbox = settings.to_outbox(log)
    # Trying again is what the pending table does, with newer values.
    gateway = settings._replace(retries=0).to_gateway(outbox)
    sender = Sender(
        load_aggregator(configuration["aggregator"], configuration["options"]),
        gateway,
        log,
        interval=configuration["interval"],
        slow_interval=configuration["slow_interval"],
    )
    return Pusher(
        sender,
        gateway,
        outbox,
        log,
        linger=configuration["linger"],
        timeout=settings.timeout,
    )


def _answer(text: str) -> None:
    """Tell the worker that the pusher has begun, or why not."""
    with suppress(OSError):
        line = f"{ANSWER}{' '.join(text.split())}\n"
        os.write(CHANNEL, line.encode("utf-8", "backslashreplace"))


def _close_all_from(lowest: int) -> None:
    """Close what we inherited: another process may wait for the end of a pipe or a socket."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
        return
    for number in numbers:
        if number >= lowest:
            with suppress(OSError):
                os.close(number)
