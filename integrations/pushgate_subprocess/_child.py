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
from typing import TYPE_CHECKING

from pushgate_subprocess._child_end import ChildEnd, end_time, own_peak_memory
from pushgate_subprocess._descriptors import READ, exit_descriptor, wait_ready
from pushgate_subprocess._signals import ENDING

if TYPE_CHECKING:
    import resource
    from collections.abc import Sequence

    from pushgate_subprocess._captures import Capture
    from pushgate_subprocess._signals import Signals

# What asks all of a job to end, stop or go on; anything else is a message for the command itself.
_FOR_THE_GROUP = ENDING | {signal.SIGKILL, signal.SIGTSTP, signal.SIGCONT}


class Child:
    """A running command: `pid`, whether it leads its `own_group`, and `started_at` (Unix seconds).

    Used by one thread. If `wait` is left by an exception (KeyboardInterrupt), the child goes on;
    `send` it a signal and call `wait` again.
    """

    def __init__(
        self,
        pid: int,
        spare: tuple[int, int],
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
        self._end: ChildEnd | None = None
        self._own_peak = own_peak_memory()
        self._exit_fd = exit_descriptor(pid, spare)

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
        kill_after: float | None = 10.0,
        timeout_signal: int = signal.SIGTERM,
    ) -> ChildEnd:
        """Sleep until the child has ended, passing signals on; return how it ended.

        After `timeout` seconds from its start the child gets `timeout_signal` and CONT, and
        `kill_after` seconds later KILL (None: never). Its descendants in the same group get them
        too (where it leads none: on Linux). Captured streams are read until the child's end, never
        until a grandchild closes them.

        Raises ChildProcessError when something else in this process has reaped the child.
        """
        if self._end is not None:
            return self._end
        if timeout is not None and not self._timed_out:
            self._due = self._clock + timeout
        while self._reaped is None:
            ready = self._sleep()
            if self._exit_fd in ready:
                self._collect(0)
            elif self._due is not None and time.monotonic() >= self._due:
                self._due = self._enforce(timeout_signal, kill_after)
        status, usage = self._reaped
        duration = self.age()
        self._end = ChildEnd(
            status,
            usage,
            own_peak=self._own_peak,
            timed_out=self._timed_out,
            ended_at=end_time(self.started_at, duration),
            duration=duration,
        )
        if self._signals is not None:
            self._signals.settle()
        for capture in self._captures:
            capture.finish()
        return self._end

    def _sleep(self) -> set[int]:
        """Sleep until something happens or is due; serve captured streams and signals."""
        interest = {self._exit_fd: READ}
        if self._signals is not None:
            interest[self._signals.fd] = READ
        open_captures = {c.fd: c for c in self._captures if c.fd is not None}
        interest.update(dict.fromkeys(open_captures, READ))
        ready = wait_ready(interest, self._due)
        for fd in ready & open_captures.keys():
            open_captures[fd].read()
        if self._signals is not None and self._signals.fd in ready:
            for number in self._signals.take():
                if number == signal.SIGCHLD:
                    self._look_after_children(self._signals)
                else:
                    self.send(number)
            self._follow_stop(self._signals)
        return ready

    def _enforce(self, timeout_signal: int, kill_after: float | None) -> float | None:
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
        if signal.SIGKILL in numbers or kill_after is None:
            return None
        return time.monotonic() + kill_after

    def _collect(self, flags: int) -> int:
        """Reap the child if it has ended; return its wait status, or 0 when there is no news."""
        if not self._ours:
            return 0
        try:
            pid, status, usage = os.wait4(self.pid, flags)
        except ChildProcessError:
            self._let_go()
            raise
        if pid == 0:
            return 0
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self._reaped = (status, usage)
            self._let_go()
        return status

    def _let_go(self) -> None:
        self._ours = False
        os.close(self._exit_fd)

    def _look_after_children(self, signals: Signals) -> None:
        if signals.terminal:
            self._note_change()
        if os.getpid() == 1:
            self._reap_orphans()

    def _note_change(self) -> bool:
        """Reap the child, or note that it has stopped or goes on; return whether there was news."""
        status = self._collect(os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status):
            self._stopped_by = os.WSTOPSIG(status)
        elif status != 0 or not self._ours:
            self._stopped_by = None
        return status != 0

    def _follow_stop(self, signals: Signals) -> None:
        """Stop when the child has, if a shell that watches us would continue us."""
        if self._stopped_by is None or not signals.follow_stops:
            return
        number, self._stopped_by = self._stopped_by, None
        signals.stop_like(number)
        # A shell's `fg` continues the group; `kill -CONT` on us alone must reach it too.
        if not self._note_change():
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
