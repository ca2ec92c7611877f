"""The worker's end: a pipe that all its processes write to, and the process that reads it.

A writer's call takes microseconds, never blocks and never raises. What it wrote is pushed even if
all writers are killed, because the pusher sees the end of the pipe.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..errors import require_posix
from ..transport.backoff import Backoff
from .aggregator import options_text
from .descriptor import Descriptor, move_up
from .pusher_process import PusherProcess, start_pusher
from .records import PIPE_BYTES
from .writer import Writer

with suppress(ImportError):  # on Windows a Relay refuses to be made
    import fcntl
    import posix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..settings.loader import Settings

_BEGIN_SECONDS = 10.0  # how long start() waits to hear whether the pusher could begin
_FLUSH_STEP = 0.01  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 300.0  # seconds until a pusher that died young is replaced
_EXIT_SECONDS = 0.1  # for a pusher that has nothing left to do, to save a zombie

_log = logging.getLogger("pushgate")
_started: WeakSet[Relay] = WeakSet()


class Relay:
    """Takes records from a process and its forked children to one pusher process.

    ``aggregator`` is ``package.module:factory``. In the pusher, ``factory(options)`` makes the
    Aggregator, from ``options`` that JSON can hold. A group is pushed at once, and then once in
    ``interval`` seconds at most; one whose changes are slow, in ``slow_interval`` seconds, or more
    where the gateway takes long. The pusher tries for ``linger`` seconds after the relay was closed
    or its last writer is gone, and leaves the rest in the outbox of ``settings``. Each pusher
    delivers from that outbox when the gateway has answered, and every minute. The settings'
    ``timeout`` bounds each push; their ``retries`` are not used, because a failed push is sent
    again with newer values.

    Raises SettingsError where no gateway is configured, TypeError or ValueError for options that
    JSON can't hold.
    """

    def __init__(
        self,
        aggregator: str,
        *,
        settings: Settings,
        options: Mapping[str, object] = MappingProxyType({}),
        interval: float = 15.0,
        slow_interval: float = 60.0,
        linger: float = 10.0,
    ) -> None:
        require_posix("a Relay")
        times = {"interval": interval, "slow_interval": slow_interval, "linger": linger}
        for name, seconds in times.items():
            if not seconds >= 0:
                raise ValueError(f"{name} is {seconds!r}; give seconds from 0 on")
        settings.to_gateway()  # a wrong setting raises here, and not in the pusher
        self._configuration: Mapping[str, Any] = {
            "aggregator": aggregator,
            "options": options_text(options),
            "settings": {**settings._asdict(), "origins": dict(settings.origins)},
            **{name: float(seconds) for name, seconds in times.items()},
        }
        self._writer: Writer | None = None
        self._write_end = self._read_end = Descriptor(-1)
        self._owner = -1
        self._pusher: PusherProcess | None = None
        self._restarts = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._pause = 0.0
        self._started_at = self._may_start_at = float("-inf")

    def start(self) -> None:
        """Make the pipe and start the pusher. Call it before the children that write are forked.

        Returns when the pusher has begun, after a tenth of a second. Raises OSError with the reason
        where it could not begin, and RuntimeError when called twice.
        """
        if self._writer is not None:
            raise RuntimeError("the relay was started before; make a new one")
        # Our read end stays: the pusher's successor will read from it, and until there is one,
        # writers don't find the pipe broken.
        self._read_end, self._write_end = (Descriptor(move_up(fd)) for fd in posix.pipe())
        try:
            with suppress(AttributeError, OSError):  # not Linux, or the user's pipes hold too much
                fcntl.fcntl(self._write_end.number, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            posix.set_blocking(self._write_end.number, False)
            self._pusher = self._begin()
            if complaint := self._pusher.answer(_BEGIN_SECONDS):
                raise OSError(f"the pusher process could not begin: {complaint}")
        except BaseException:
            if self._pusher is not None and self._pusher.is_gone(_EXIT_SECONDS):
                self._pusher.reap()
            self.detach()
            raise
        self._owner = posix.getpid()
        self._writer = Writer(self._write_end)
        _started.add(self)

    def write(self, record: object) -> bool:
        """Hand over a record that JSON can hold, from any process. Its line has 4096 bytes at most.

        Returns False if it was dropped; the pusher learns how many were. Never blocks, and raises
        nothing of its own. A record that finds no room waits in this process for the next call.
        """
        return self._writer is not None and self._writer.write(record)

    def flush(self, timeout: float = 0.0) -> bool:
        """Write the records that wait, for ``timeout`` seconds at most. Whether none waits now.

        For a process that is about to end.
        """
        if self._writer is None:
            return True
        deadline = time.monotonic() + timeout
        while not self._writer.flush():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FLUSH_STEP)
        return True

    def ensure_running(self) -> bool:
        """Start another pusher on the same pipe if the last one died. Whether that was done.

        Never raises. The process that called :meth:`start` calls it now and then. A new pusher
        begins its totals at 0, and reads what the last one had not read. If pushers die again and
        again, they are replaced less and less often. Where this process has no standard error, the
        pusher's lines are logged by this call.
        """
        if self._owner != posix.getpid() or self._writer is None:
            return False
        self._writer.flush()
        now = time.monotonic()
        if self._pusher is not None:
            is_gone = self._pusher.is_gone()
            _pass_on(self._pusher)
            if not is_gone:
                return False
            _log.warning("the pusher process is gone: %s", self._pusher.reap() or "it ended")
            self._pusher = None
            self._died(now)
        return now >= self._may_start_at and self._try_again()

    def detach(self) -> None:
        """Close the pipe in a child that must not keep it open. Its records are dropped then."""
        self._write_end.close()
        self._let_go()

    def begin_in_child(self) -> None:
        """Each forked child calls this when it begins."""
        if self._writer is not None:
            self._writer.begin_anew()
        self._let_go()

    def _let_go(self) -> None:
        """Close what only the process of :meth:`start` needs."""
        self._read_end.close()
        if self._pusher is not None:
            self._pusher.channel.close()

    def close(self, timeout: float) -> bool:
        """End, and wait ``timeout`` seconds for the last pushes. Whether all is pushed or kept.

        A process that a task left behind, and that has the pipe still, delays nothing. In a forked
        child this closes the child's end only, and returns True.
        """
        if self._owner != posix.getpid() or self._writer is None or self._write_end.number < 0:
            self.detach()
            return True
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        if self._pusher is None or self._pusher.is_gone():
            self._try_again()  # what is in the pipe must not stay there
        self._writer.stop()
        self._write_end.close()
        has_ended = False
        if (pusher := self._pusher) is not None:
            is_done = pusher.is_done(max(0.0, deadline - time.monotonic()))
            has_ended = pusher.is_gone(_EXIT_SECONDS if is_done else 0.0)
            _pass_on(pusher)
            if has_ended and (how := pusher.reap()):
                _log.warning("the pusher process is gone: %s", how)
                has_ended = False
            has_ended = has_ended or is_done
        self.detach()
        return has_ended

    def _begin(self) -> PusherProcess:
        self._started_at = time.monotonic()
        return start_pusher(self._read_end.number, self._configuration)

    def _died(self, now: float) -> None:
        """The pusher died, or did not start: one that dies young is replaced ever more seldom."""
        if now - self._started_at > max(_FIRST_PAUSE, 2 * self._pause):
            self._restarts.succeeded()
            self._pause = 0.0
        else:
            self._pause = self._restarts.failed()
        self._may_start_at = now + self._pause

    def _try_again(self) -> bool:
        try:
            self._pusher = self._begin()
        except OSError as error:
            self._died(time.monotonic())
            _log.warning("the pusher process could not be started again: %s", error)
            return False
        return True


def _pass_on(pusher: PusherProcess) -> None:
    for line in pusher.lines():
        _log.warning("%s", line)


def _begin_in_child() -> None:
    """A forked child writes, and no more: the pusher must see when the process of start() ends."""
    for relay in _started:
        relay.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
