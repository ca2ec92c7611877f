"""For commands that listen until they are ended."""

from __future__ import annotations

import errno
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def until_ended() -> Iterator[None]:
    """Ctrl-C and TERM end the block without an error."""
    # Also INT: a shell starts its background jobs with INT ignored.
    stopping = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in stopping]
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in zip(stopping, before, strict=True):
            signal.signal(number, handler)


def why_not_listening(error: OSError, host: str, port: int, option: str) -> str:
    """Why the port can't be had, and what to do. ``option`` is all before the port's number."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"another process listens on {host}:{port}; end it, or choose another port with"
            f" {option}{port + 1 if port < 65535 else 0}"
        )
    return f"can't listen on {host}:{port}: {error.strerror or error}"
