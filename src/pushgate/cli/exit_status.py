"""How a command ends: an exit code and, where it failed, one line on stderr.

There is never a traceback for an error that is not a bug of pushgate.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from ..errors import (
    DeliveryError,
    GatewayRejectedError,
    InvalidGroupingKeyError,
    PushError,
    SettingsError,
    asks_for_credentials,
    concerns_one_group,
)
from ..settings.environment import is_wrapped
from .formatting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_READER_GONE = 128 + 13  # as if SIGPIPE had ended us, which shells take as normal
_INTERRUPTED = 128 + 2
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_SECRETS = (
    "; 'pushgate run' passes no secret on to its command: set PUSHGATE_PASSWORD or PUSHGATE_TOKEN"
    " to file:/path, which it does pass on, or write to $PUSHGATE_METRICS_FILE"
)


class UsageError(Exception):
    """The arguments make no sense; the text says what to change."""


class CommandError(Exception):
    """The command can't do its work; the text says why."""


_USAGE = (UsageError, SettingsError, InvalidGroupingKeyError)


def guarded(action: Callable[[], int]) -> int:
    """The exit code of ``action``: 1 where it failed, 2 for wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        code = _code_of(action)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return _READER_GONE
    except _USAGE as error:
        complain(str(error))
        return 2
    except (CommandError, PushError) as error:
        complain(_explained(error))
        return 1
    except (OSError, MemoryError) as error:
        complain(_what_failed(error))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def harmless(action: Callable[[], int]) -> int:
    """For commands inside a script: what ``action`` raises is one line, and the exit code is 0."""
    try:
        code = guarded(action)
    except Exception as error:  # a bug of ours must not end the user's script
        complain(f"a fault in pushgate, please report it: {error!r}")
        code = 0
    return code if code == _INTERRUPTED else 0


def silenced(action: Callable[[], int]) -> int:
    """The exit code of ``action``, which writes nothing. Raises what wrong usage raises."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            return action()
        except _USAGE:
            raise
        except (CommandError, PushError):
            return 1


def _explained(error: Exception) -> str:
    """The text of ``error``, with the URL and the next step where a request failed."""
    cause = error if isinstance(error, DeliveryError) else error.__cause__
    if not isinstance(cause, DeliveryError):
        return str(error)
    place = f"{cause.url}: " if isinstance(cause, GatewayRejectedError) else ""
    if concerns_one_group(cause):
        step = ""
    elif asks_for_credentials(cause) and is_wrapped(os.environ):  # the wrapper has them
        step = _SECRETS
    else:
        step = "; see 'pushgate doctor'"
    return f"{place}{error}{step}"


def _what_failed(error: OSError | MemoryError) -> str:
    """The text of an OSError that nothing has explained: of stdout, or of something else."""
    if isinstance(error, MemoryError):
        return "there is no memory left for this"
    if error.filename is None and error.errno in _OF_WRITING:
        _discard_stdout()
        return f"can't write the output: {error.strerror}"
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _code_of(action: Callable[[], int]) -> int:
    try:
        return action()
    except SystemExit as end:  # argparse, after --help
        return end.code if isinstance(end.code, int) else 0


def complain(text: str) -> None:
    """Write ``text`` to stderr as one line. Does nothing where stderr can't be written."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"pushgate: {printable(' '.join(text.split()))}\n")
            sys.stderr.flush()


def _discard_stdout() -> None:
    """Throw away what is still buffered: the interpreter writes it at exit and would fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
