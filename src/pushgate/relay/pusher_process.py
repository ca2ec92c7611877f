"""The pusher's process, seen from the worker: started, watched, waited for.

It uses no threads and nothing that gevent or eventlet replace. posix_spawn(3) starts the child, and
a socket, of which only the child holds the other end, tells when it is gone, also where something
else reaps our children.
"""

from __future__ import annotations

import _socket
import importlib.util
import marshal
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..settings.environment import child_environment
from .descriptor import Descriptor, move_up

with suppress(ImportError):  # on Windows, as in relay.py
    import posix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.machinery import ModuleSpec

RECORDS, CHANNEL = 3, 4  # the pusher's descriptors
# Begin the lines that say how it began, and that it was told to stop and has delivered everything.
# Other lines come on the channel, too.
ANSWER, DONE = "\0", "\1"

# A service manager signals all processes of a service, a terminal its foreground group. The pusher
# ends after its last push, when no writer is left.
IGNORED = tuple(
    getattr(signal, f"SIG{name}")
    for name in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "TSTP", "TTIN", "TTOU"]
    if hasattr(signal, f"SIG{name}")  # Windows has some of them, and no Relay
)

# Nothing is imported before sys.path is the worker's: the current directory is on it by default,
# with whatever a project calls logging.py. Secrets come through the channel, and never in argv.
_BOOTSTRAP = (
    f"import marshal,sys;c=marshal.load(open({CHANNEL},'rb',closefd=False));"
    "sys.path[:]=c['path'];from pushgate.relay.pusher_main import main;main(c)"
)
# Version 4 is read by every Python from 3.4 on.
_MARSHAL_VERSION = 4
_SEND_SECONDS = 10.0


class PusherProcess:
    """A pusher that was started by this process."""

    def __init__(self, pid: int, channel: Descriptor) -> None:
        self.pid = pid
        self.channel = channel
        self._answer: str | None = None
        self._lines: list[str] = []
        self._rest = b""
        self._gone = self._is_done = False

    def answer(self, timeout: float) -> str | None:
        """Its answer: "" if it has begun, else the reason why not.

        None if there is no answer within ``timeout`` seconds.
        """
        self._wait(lambda: self._answer is not None, timeout)
        if self._answer is None and self._gone:
            return f"{sys.executable} ended before it could begin; {_NO_PYTHON}"
        return self._answer

    def lines(self) -> list[str]:
        """Its lines since the last call, if this process has no standard error to share."""
        lines, self._lines = self._lines, []
        return lines

    def is_gone(self, timeout: float = 0.0) -> bool:
        """Wait ``timeout`` seconds for its end at most. Whether it has ended."""
        self._wait(lambda: False, timeout)
        return self._gone

    def is_done(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most until it was told to stop and has delivered all."""
        self._wait(lambda: self._is_done, timeout)
        return self._is_done

    def reap(self) -> str:
        """How a process that is gone ended; "" if it ended well, or if that is not known."""
        self.channel.close()
        with suppress(OSError):  # libev, for example, reaps children, too
            # Its descriptors are closed some microseconds before this returns.
            _, status = posix.waitpid(self.pid, 0)
            return _exit_text(os.waitstatus_to_exitcode(status))
        return ""

    def _wait(self, is_over: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not (self._gone or is_over()):
            if not self._receive(max(0.0, deadline - time.monotonic())):
                break

    def _receive(self, timeout: float) -> bool:
        """Receive something, or its end: False if neither came within ``timeout`` seconds."""
        if self.channel.number < 0:
            return False
        channel = _socket.socket(fileno=self.channel.number)
        try:
            channel.settimeout(timeout)
            data = channel.recv(4096)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError:
            data = b""
        finally:
            channel.detach()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            if text.startswith(ANSWER):
                self._answer = text.removeprefix(ANSWER)
            elif text == DONE:
                self._is_done = True
            else:
                self._lines.append(text.removeprefix("pushgate: "))
        self._gone = not data
        return True


def start_pusher(records: int, configuration: Mapping[str, Any]) -> PusherProcess:
    """Start a pusher that reads ``records``. Raises OSError.

    ``records`` is none of the pusher's numbers. ``configuration``, of what marshal can hold, goes
    to the pusher's ``main`` with the path added.
    """
    if not sys.executable:
        raise OSError(f"sys.executable is empty; {_NO_PYTHON}")
    ours, theirs = _socket.socketpair()
    channel = move_up(theirs.detach())
    try:
        try:
            pid = _spawn(records, channel)
        finally:
            posix.close(channel)
        ours.settimeout(_SEND_SECONDS)
        whole = {**configuration, "path": _path(str(configuration["aggregator"]))}
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: its answer will say so
            ours.sendall(marshal.dumps(whole, _MARSHAL_VERSION))
    except BaseException:
        ours.close()
        raise
    return PusherProcess(pid, Descriptor(move_up(ours.detach())))


_NO_PYTHON = (
    "the pusher is a process of its own and needs a Python interpreter: where Python is embedded,"
    " set sys.executable to one of the same version"
)


def _spawn(records: int, channel: int) -> int:
    arguments = [sys.executable, "-S", "-c", _BOOTSTRAP, "pushgate.relay"]
    actions: list[tuple[Any, ...]] = [
        (posix.POSIX_SPAWN_OPEN, 0, os.devnull, posix.O_RDONLY, 0),
        (posix.POSIX_SPAWN_DUP2, records, RECORDS),
        (posix.POSIX_SPAWN_DUP2, channel, CHANNEL),
    ]
    if not _has_standard_error():  # a daemon's: the pusher's lines come back to us, for the log
        actions.append((posix.POSIX_SPAWN_DUP2, CHANNEL, 2))
    actions.append((posix.POSIX_SPAWN_DUP2, 2, 1))
    return posix.posix_spawn(
        sys.executable,
        arguments,
        child_environment(os.environ),
        file_actions=actions,
        setsigmask=IGNORED,  # until the pusher ignores them, or one might end it before
        setpgroup=0,
    )


def _exit_text(code: int) -> str:
    if code < 0:
        return f"signal {-code} killed it"
    return f"it exited with {code}" if code else ""


def _has_standard_error() -> bool:
    """Whether our standard error leads anywhere."""
    if sys.__stderr__ is None:  # closed when we began: the number may be any socket's by now
        return False
    try:
        return not os.path.samestat(posix.fstat(2), posix.stat(os.devnull))
    except OSError:
        return False


def _path(aggregator: str) -> list[str]:
    """This process's sys.path, with what the pusher needs before a project's own modules.

    The pusher starts without site, which may do anything on behalf of others (instrument, start
    threads). So what an import hook finds here is not found there: hence the last two.
    """
    library = os.path.dirname(os.__file__)
    standard = [p for p in sys.path if p in (library, f"{library}/lib-dynload")]
    homes = []
    for package in ("pushgate", aggregator.partition(":")[0].partition(".")[0]):
        spec = _spec(package)
        if spec is not None and spec.origin is not None:
            home = os.path.dirname(spec.origin)
            is_package = spec.submodule_search_locations is not None
            homes.append(os.path.dirname(home) if is_package else home)
    paths = [os.path.abspath(p) for p in (*standard, *homes, *sys.path)]
    return list(dict.fromkeys(paths))


def _spec(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except (ImportError, ValueError):  # its import in the pusher will tell
        return None
