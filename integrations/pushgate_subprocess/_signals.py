"""Keep the signals sent to this process, so that they reach the wrapped command.

For a process that wraps one command and then exits, so it is never undone: restoring the defaults
would let a TERM that is just arriving kill the wrapper and replace the command's exit code.

Each signal has a handler that does nothing, and `signal.set_wakeup_fd` writes its number into a
pipe, which is waited for together with everything else. Nothing tells who sent a signal. Where the
terminal has sent it, the command has got it as well; see `Signals.take`.
"""

from __future__ import annotations

import os
import signal
import time

from pushgate_subprocess._descriptors import pipe, wait_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType


def _existing(*names: str) -> frozenset[int]:
    return frozenset(int(getattr(signal, name)) for name in names if hasattr(signal, name))


ENDING = _existing("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
_MESSAGES = _existing("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGWINCH", "SIGPWR", "SIGINFO")
_READ_OR_WRITTEN = _existing("SIGTTIN", "SIGTTOU")  # the terminal, by a background job
_STOPPING = _READ_OR_WRITTEN | {signal.SIGTSTP}
_KEYBOARD = _existing("SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGINFO")


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, be its standard streams what they may."""
    return _foreground_group() is not None


class Signals:
    """Keeps the signals that this process gets from now on, for the command.

    Make it in the main thread, before any other thread and before the command is started.
    `terminal` says whether there is a controlling terminal: then the command shares this process's
    group, and the terminal itself signals both. Signals that are ignored when it is made (by nohup,
    or for a shell's background job) stay ignored, here and in the command. `child_mask` are the
    signals that were blocked then: the command gets that mask.

    `hurried` turns true when a TERM, INT, HUP or QUIT comes after the command has ended.

    Raises ValueError outside the main thread, and OSError when no descriptor is left.
    """

    def __init__(self) -> None:
        # Inherited as ignored, SIGCHLD would make the kernel throw the command's status away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.fd, self._write_end = pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)
        self.terminal = has_terminal()
        self.hurried = False
        self._backlog = b""
        self._command_ended = False
        self._stop_came = False
        wanted = {*ENDING, *_MESSAGES, *_STOPPING, signal.SIGCHLD}
        if not self.terminal:
            wanted.add(signal.SIGCONT)
        if hasattr(signal, "SIGRTMIN"):  # macOS has none
            wanted.update(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
        watched = {number for number in wanted if signal.getsignal(number) != signal.SIG_IGN}
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in watched:
            signal.signal(number, _do_nothing)
        self.child_mask: Iterable[int] = signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)

    def take(self) -> list[int]:
        """The signals received since the last call that the command should get as well."""
        received, self._backlog = self._backlog + self._read(), b""
        if self._command_ended and not ENDING.isdisjoint(received):
            self.hurried = True
        if not _STOPPING.isdisjoint(received):
            self._stop_came = True
        not_for_it = {int(signal.SIGCHLD)}
        # A TTIN or TTOU is the terminal's, and so the whole group's. A signal that a key sends is
        # taken for one in the foreground; in the background only kill(1) can have sent it.
        if self.terminal:
            not_for_it |= _READ_OR_WRITTEN
            if not _KEYBOARD.isdisjoint(received) and _foreground_group() == os.getpgrp():
                not_for_it |= _KEYBOARD
        return [number for number in received if number not in not_for_it]

    def settle(self) -> None:
        """Note that the command has ended: what ends this process from now on is `hurried`.

        One Ctrl-C goes to the command and to us, and the command's death may be noticed first, so
        what was sent until now is taken before the count starts.
        """
        self._read()
        self._backlog = b""
        self._command_ended = True

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 65_536)
        except BlockingIOError:
            return b""

    def linger(self, done_fd: int, until: float, *, hurried_seconds: float) -> bool:
        """Sleep until `done_fd` is readable (true) or time.monotonic() is `until` (false).

        A TERM, INT, HUP or QUIT leaves at most `hurried_seconds` more from its arrival.
        """
        was_hurried = False
        while True:
            self.take()
            if self.hurried and not was_hurried:
                was_hurried = True
                until = min(until, time.monotonic() + hurried_seconds)
            if done_fd in wait_ready([done_fd, self.fd], until):
                return True
            if time.monotonic() >= until:
                return False

    @property
    def follow_stops(self) -> bool:
        """Whether to stop when the command does, because a shell would continue us.

        A shell with job control has made us a group's leader in its own session, or it has stopped
        all of our group (a pipeline, a script), which `take` has seen. Otherwise another process
        stopped the command alone, and will continue it alone.
        """
        own_pid = os.getpid()
        if os.getsid(0) == own_pid:
            return False
        return self._stop_came or os.getpgrp() == own_pid

    def stop_like(self, number: int) -> None:
        """Stop this process by the signal `number` that stopped the command, until it is continued.

        So a shell sees its job stopped exactly when the command itself would have stopped.
        """
        # The Ctrl-Z that was for both is done with; the command must not get it once continued.
        self._backlog = bytes(n for n in self._backlog + self._read() if n not in _STOPPING)
        self._stop_came = False
        _do_default(number)

    def die_like(self, number: int) -> None:
        """End this process by the signal `number` that ended the command, without a core dump.

        A shell's `$?` is 128 + n either way, but a loop in an interactive shell goes on after a
        Ctrl-C unless what it ran was seen to die of SIGINT. Returns where the signal can't end
        this process: as PID 1.
        """
        from resource import RLIMIT_CORE, getrlimit, setrlimit

        setrlimit(RLIMIT_CORE, (0, getrlimit(RLIMIT_CORE)[1]))
        _do_default(number)


def _do_default(number: int) -> None:
    if number in (signal.SIGSTOP, signal.SIGKILL):
        signal.raise_signal(number)
        return
    before = signal.signal(number, signal.SIG_DFL)
    try:
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Because of a handler `signal.set_wakeup_fd` reports the signal."""


def _foreground_group() -> int | None:
    """The process group in the terminal's foreground; None without a terminal."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # ENXIO: no controlling terminal
        return None
    try:
        return os.tcgetpgrp(tty)
    except OSError:  # the terminal hung up
        return 0
    finally:
        os.close(tty)
