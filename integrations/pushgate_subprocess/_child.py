"""A running command, from its start to its end: signals, a time limit, Ctrl-Z, reaping.

All that may signal or reap the child happens in the thread that calls `wait`, one thing after the
other, so a process id is never used after it was given back.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from pushgate_subprocess._child_end import ChildEnd, end_time, own_peak_memory
from pushgate_subprocess._descriptors import wait_ready
from pushgate_subprocess._signals import ENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import resource
    from collections.abc import Sequence

    from pushgate_subprocess._capture import Capture
    from pushgate_subprocess._signals import Signals

# What asks all of a job to end, stop or go on; anything else is a message for the command itself.
_FOR_THE_GROUP = ENDING | {signal.SIGKILL, signal.SIGTSTP, signal.SIGCONT}

_PAUSE = 0.05  # seconds between two looks at the child, where nothing tells of its end


class Child:
    """A running command: `pid`, whether it leads its `own_group`, and `started_at` (Unix seconds).

    Used by one thread. If `wait` is left by an exception (KeyboardInterrupt), the child goes on;
    `send` it a signal and call `wait` again.
    """

    def __init__(
        self,
        pid: int,
        own_group: bool,
        signals: Signals | None,
        captures: Sequence[Capture],
        started_at: float,
        clock: float,
    ) -> None:
        self.pid = pid
        self.own_group = own_group
        self.started_at = started_at
        self._clock = clock
        self._signals = signals
        self._captures = captures
        self._due: float | None = None
        self._timed_out = False
        self._descendants: dict[int, int] = {}
        self._stopped_by: int | None = None
        self._ours = True  # the process id is the child's until it is reaped
        self._reaped: tuple[int, resource.struct_rusage] | None = None
        self._own_peak = own_peak_memory()
        self._exit_fd: int | None = None
        if signals is None:  # else SIGCHLD is among them
            # macOS has no pidfd, nor had Linux before 5.3; a container may forbid it.
            with suppress(AttributeError, OSError):
                self._exit_fd = os.pidfd_open(pid)

    def age(self) -> float:
        """The seconds since its start, whatever is done to the wall clock."""
        return time.monotonic() - self._clock

    def send(self, number: int) -> None:
        """Send the signal `number` to the child, or do nothing when it has ended.

        TERM, INT, HUP, QUIT, KILL, TSTP and CONT go to its whole group when it leads one: they
        ask all of a job to end, stop or go on. Any other is a message for the command itself.
        """
        if not self._ours:
            return
        # It may have become another user (setuid); macOS says EPERM for a zombie's group.
        with suppress(ProcessLookupError, PermissionError):
            if self.own_group and number in _FOR_THE_GROUP:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def wait(
        self,
        *,
        timeout: float | None = None,
        kill_after: float = 10.0,
        timeout_signal: int = signal.SIGTERM,
    ) -> ChildEnd:
        """Sleep until the child has ended, passing signals on; return how it ended.

        After `timeout` seconds from its start the child gets `timeout_signal` and CONT, and
        `kill_after` seconds later KILL. Its descendants in the same group get them too (where it
        leads none: on Linux). Captured streams are read until the child's end, never until a
        grandchild closes them.

        Raises ChildProcessError when something else in this process has reaped the child.
        """
        if timeout is not None and not self._timed_out:
            self._due = self._clock + timeout
        while self._reaped is None:
            self._sleep()
            self._look()
            if self._signals is not None:
                self._follow_stop(self._signals)
            if self._due is not None and time.monotonic() >= self._due:
                self._due = self._enforce(timeout_signal, kill_after)
        status, usage = self._reaped
        duration = self.age()
        if self._signals is not None:
            self._signals.settle()
        for capture in self._captures:
            capture.finish()
        return ChildEnd(
            status,
            usage,
            own_peak=self._own_peak,
            timed_out=self._timed_out,
            ended_at=end_time(self.started_at, duration),
            duration=duration,
        )

    def _sleep(self) -> None:
        """Sleep until something happens or is due; serve captured streams and signals."""
        until = self._due
        wakes = self._exit_fd if self._signals is None else self._signals.fd
        if wakes is None:
            until = min(until or float("inf"), time.monotonic() + _PAUSE)
        captures = {c.fd: c for c in self._captures if c.fd is not None}
        ready = wait_ready([*captures] if wakes is None else [wakes, *captures], until)
        for fd in ready & captures.keys():
            captures[fd].read()
        if self._signals is not None and wakes in ready:
            for number in self._signals.take():
                self.send(number)
            if os.getpid() == 1:
                self._reap_orphans()

    def _look(self) -> bool:
        """Reap the child if it has ended, or note that it stopped or goes on: whether it did."""
        if not self._ours:
            return False
        flags = os.WNOHANG
        if self._signals is not None and self._signals.terminal:
            flags |= os.WUNTRACED | os.WCONTINUED
        try:
            pid, status, usage = os.wait4(self.pid, flags)
        except ChildProcessError:
            self._let_go()
            raise
        if pid == 0:
            return False
        self._stopped_by = os.WSTOPSIG(status) if os.WIFSTOPPED(status) else None
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self._reaped = (status, usage)
            self._let_go()
        return True

    def _let_go(self) -> None:
        self._ours = False
        if self._exit_fd is not None:
            os.close(self._exit_fd)

    def _enforce(self, timeout_signal: int, kill_after: float) -> float | None:
        """The time is over: end the child, and return when that has to be done by force."""
        again, self._timed_out = self._timed_out, True
        numbers: list[int] = [signal.SIGKILL]
        if not again and timeout_signal != signal.SIGKILL:
            # A stopped process would take the signal only once continued.
            numbers = [timeout_signal, signal.SIGCONT]
        if not self.own_group:
            from pushgate_subprocess import _descendants

            # Found while the child is there, and signalled after it: a shell would start its next
            # command if the present one ended first.
            self._descendants = _descendants.descendants(self.pid, self._descendants)
        for number in numbers:
            self.send(number)
            if self._descendants:
                _descendants.send(number, self._descendants)
        return None if signal.SIGKILL in numbers else time.monotonic() + kill_after

    def _follow_stop(self, signals: Signals) -> None:
        """Stop when the child has, if a shell that watches us would continue us."""
        if self._stopped_by is None or not signals.follow_stops:
            return
        number, self._stopped_by = self._stopped_by, None
        signals.stop_like(number)
        # A shell's `fg` continues the group; `kill -CONT` on us alone must reach it too.
        if not self._look():
            self.send(signal.SIGCONT)

    def _reap_orphans(self) -> None:
        """As PID 1 of a container: every process whose parent died has become our child."""
        if sys.platform == "darwin":
            return
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == self.pid:
                return
            os.waitpid(found.si_pid, 0)
