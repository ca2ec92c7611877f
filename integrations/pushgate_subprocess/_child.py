"""A running child, from its start to its end: signals, a time limit, Ctrl-Z, reaping.

A process id enters, and the signals of this process as they come; an `Ended` leaves. All that
may signal or reap the child happens in the thread that calls `wait`, one thing after the other,
so a process id is never used after it was given back.
"""

from __future__ import annotations

import os
import sys
import time

from pushgate_subprocess._descriptors import READ, exit_descriptor, until_ready
from pushgate_subprocess._lean import TYPE_CHECKING, signal
from pushgate_subprocess._signals import ENDING

if TYPE_CHECKING:
    import resource

    from pushgate_subprocess._capture import Pump
    from pushgate_subprocess._ended import Ended
    from pushgate_subprocess._signals import Signals

# What asks all of a job to end, stop or go on; anything else is a message for the command itself.
_FOR_THE_GROUP = ENDING | {signal.SIGKILL, signal.SIGTSTP, signal.SIGCONT}


class Child:
    """A running command: `pid`, whether it leads its `own_group`, and `started_at` (Unix seconds).

    Used by one thread. If `wait` is left by an exception (KeyboardInterrupt), the child goes on;
    `send` it a signal and call `wait` again.
    """

    __slots__ = (
        "_clock",
        "_descendants",
        "_due",
        "_ended",
        "_exit_fd",
        "_ours",
        "_own_maxrss",
        "_pumps",
        "_reaped",
        "_signals",
        "_stopped_by",
        "_timed_out",
        "own_group",
        "pid",
        "started_at",
    )

    def __init__(
        self,
        pid: int,
        spare: tuple[int, int],
        own_group: bool,
        signals: Signals | None,
        pumps: list[Pump],
        started_at: float,
        clock: float,
    ) -> None:
        self.pid = pid
        self.own_group = own_group
        self.started_at = started_at
        self._clock = clock
        self._signals = signals
        self._pumps = pumps
        self._due: float | None = None
        self._timed_out = False
        self._descendants: dict[int, int] = {}
        self._stopped_by: int | None = None
        self._ours = True  # the process id is the child's until it is reaped
        self._reaped: tuple[int, resource.struct_rusage] | None = None
        self._ended: Ended | None = None
        if signals is not None:
            signals.child_pid = pid
        self._own_maxrss = _own_maxrss()
        self._exit_fd = exit_descriptor(pid, spare)

    def send(self, number: int) -> None:
        """Send the signal `number` to the child, or do nothing when it has ended.

        TERM, INT, HUP, QUIT, KILL, TSTP and CONT go to its whole group when it leads one: they
        ask all of a job to end, stop or go on. Any other is a message for the command itself.
        """
        if not self._ours:
            return
        try:
            if self.own_group and number in _FOR_THE_GROUP:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has become another user (setuid); macOS says EPERM for a zombie's group

    def wait(
        self,
        *,
        timeout: float | None = None,
        kill_after: float | None = 10.0,
        timeout_signal: int = signal.SIGTERM,
        preserve_status: bool = False,
    ) -> Ended:
        """Sleep until the child has ended, passing signals on; return how it ended.

        After `timeout` seconds from its start the child gets `timeout_signal` and CONT, and
        `kill_after` seconds later KILL (None: never); `Ended.exit_status` is then 124, or 137 for
        the KILL, or the child's own with `preserve_status`. Its descendants in the
        same group get them too (where it leads none: on Linux). Captured streams are read until
        the child's end, never until a grandchild closes them.

        Raises ChildProcessError when something else in this process has reaped the child.
        """
        from pushgate_subprocess._ended import ended  # typing takes 10 ms, while the child runs

        if self._ended is not None:
            return self._ended
        if timeout is not None and not self._timed_out:
            self._due = self._clock + timeout
        while self._reaped is None:
            ready = self._sleep({self._exit_fd: READ}, self._due)
            if self._exit_fd in ready:
                self._collect(0)
            elif self._due is not None and time.monotonic() >= self._due:
                self._due = self._enforce(timeout_signal, kill_after)
        ended_at, duration = time.time(), time.monotonic() - self._clock
        self._finish()
        status, usage = self._reaped
        self._ended = ended(
            status,
            usage,
            own_maxrss=self._own_maxrss,
            timed_out=self._timed_out,
            preserve_status=preserve_status,
            started_at=self.started_at,
            ended_at=ended_at,
            duration=duration,
        )
        return self._ended

    def _sleep(self, interest: dict[int, int], deadline: float | None) -> set[int]:
        """Sleep until something happens, and do all of it but what is in `interest`."""
        wanted = dict(interest)
        if self._signals is not None:
            wanted[self._signals.fd] = READ
        for pump in self._pumps:
            wanted.update(pump.interest())
        ready = until_ready(wanted, deadline)
        for pump in self._pumps:
            if not ready.isdisjoint(pump.interest()):
                pump.step()
                break  # the other one may write to the same pipe: ask again if it has room
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
        """Stop when the child has, if whoever watches us would then let us go on."""
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

    def _finish(self) -> None:
        """The child is reaped: take what it left in the captured streams."""
        if self._signals is not None:
            self._signals.settle()
        for pump in self._pumps:
            pump.finish()
        while any(pump.interest() for pump in self._pumps):
            self._sleep({}, None)
            if self._signals is not None and self._signals.hurried:
                break  # nobody reads our output and somebody wants us to end
        for pump in self._pumps:
            pump.close()


def _own_maxrss() -> int:
    """Our own peak memory in getrusage's unit, just after the start: the floor of the child's.

    What counts is the peak of our present memory. Our ru_maxrss may be far above: it has the peak
    of the process that started us as its own floor.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            (peak,) = [line.split()[1] for line in status if line.startswith(b"VmHWM:")]
        return int(peak)
    except (OSError, ValueError):  # not Linux, or no descriptor left
        pass
    try:
        from resource import RUSAGE_SELF, getrusage  # after the child's start
    except (ImportError, OSError):
        return sys.maxsize
    return getrusage(RUSAGE_SELF).ru_maxrss
