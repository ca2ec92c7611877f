"""The signals sent to this process, kept for the child: what came, and from where.

The process's signals enter; `Signals.take` gives those that the child should get too. It is for
a process that wraps one command and then exits, so it is never undone: restoring the defaults
would let a TERM that is just arriving kill the wrapper and replace the child's exit code.

Two ways of listening, because only one tells the sender. Where sigwaitinfo(2) exists (Linux),
the signals are blocked and a thread collects them. Elsewhere (macOS) they have handlers that do
nothing, and `signal.set_wakeup_fd` reports their numbers. Both end in the same pipe of bytes.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import start_new_thread

from pushgate_subprocess._descriptors import READ, pipe, until_ready
from pushgate_subprocess._lean import TYPE_CHECKING, signal
from pushgate_subprocess._terminal import foreground_group, has_terminal

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

_NOT_FOR_THE_CHILD = 0x80  # beside a signal number, which is at most 64
# Only a thread that was started before, with the signals unblocked, could use this second up.
_CATCH_UP_SECONDS = 1.0
_ORIGINS_KNOWN = sys.platform != "darwin"  # which has no sigwaitinfo(2)


class Signals:
    """Keeps the signals that this process gets from now on, so that they reach the child.

    Open it before any other thread is started and before the child is spawned, in the main
    thread. `terminal` says whether there is a controlling terminal: then the child shares this
    process's group, and the terminal itself signals both. Signals that are ignored on entry
    (nohup, a shell's background job) stay ignored here and in the child.

    `hurried` turns true when a TERM, INT, HUP or QUIT comes after the child has ended.

    `origins=False` chooses the way of macOS on Linux, for tests. Raises ValueError outside the
    main thread and OSError when no descriptor is left.
    """

    __slots__ = (
        "_backlog",
        "_child_ended",
        "_origins",
        "_sentinel",
        "_stop_came",
        "_watched",
        "_write_end",
        "child_mask",
        "child_pid",
        "fd",
        "hurried",
        "terminal",
    )

    def __init__(self, *, origins: bool = _ORIGINS_KNOWN) -> None:
        # Inherited as ignored, SIGCHLD would make the kernel throw the child's status away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.fd, self._write_end = pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)
        self.terminal = has_terminal()
        self.child_pid = -1  # never a sender: one outside a container's PID namespace is 0
        self.child_mask: Iterable[int] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.hurried = False
        self._backlog = b""
        self._child_ended = False
        self._origins = origins
        self._sentinel = 0
        self._stop_came = False
        wanted = ENDING | _MESSAGES | _READ_OR_WRITTEN | {signal.SIGTSTP, signal.SIGCHLD}
        if not self.terminal:
            wanted |= {signal.SIGCONT}
        if origins and sys.platform != "darwin":
            # The last real-time signal is ours: `settle` sends it to itself.
            self._sentinel = int(signal.SIGRTMAX)
            wanted |= set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
        self._watched = {n for n in wanted if signal.getsignal(n) != signal.SIG_IGN}
        if origins:
            signal.signal(self._sentinel, _do_nothing)  # its default action is to kill
            signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
            try:
                start_new_thread(self._listen, ())
            except RuntimeError:  # a limit on processes and threads
                signal.pthread_sigmask(signal.SIG_SETMASK, self.child_mask)
                self._origins = False
        if not self._origins:
            signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
            for number in self._watched:
                signal.signal(number, _do_nothing)

    def _listen(self) -> None:
        if sys.platform == "darwin":
            return
        own_pid = os.getpid()
        leader = os.getsid(0) == own_pid
        while True:
            info = signal.sigwaitinfo(self._watched)
            number = info.si_signo
            if number == self._sentinel and info.si_pid != own_pid:
                continue
            # SI_USER is 0, other senders' codes are negative and the kernel's positive. What the
            # kernel sends on a terminal, like a Ctrl-C, went to the child's group, which is ours;
            # but a hang-up goes to the leader of the session alone (tty_signal_session_leader in
            # drivers/tty/tty_jobctrl.c). A child that signals its parent expects no echo.
            if info.si_code > 0:
                for_us = self.terminal and not (leader and number == signal.SIGHUP)
            else:
                for_us = info.si_pid == self.child_pid
            if for_us:
                number |= _NOT_FOR_THE_CHILD
            try:  # noqa: SIM105 - contextlib is an import before the child's start
                os.write(self._write_end, bytes((number,)))
            except BlockingIOError:
                pass  # 64 Ki signals that nobody has read yet: one more tells nothing new

    def take(self) -> list[int]:
        """Return the signals received since the last call that the child should get as well.

        SIGCHLD is always among them; that one is the caller's: a child stopped, an orphan ended.
        """
        received, self._backlog = self._backlog + self._read(), b""
        if self._child_ended and any(n & ~_NOT_FOR_THE_CHILD in ENDING for n in received):
            self.hurried = True
        if any(n & ~_NOT_FOR_THE_CHILD in _STOPPING for n in received):
            self._stop_came = True
        child = int(signal.SIGCHLD)
        for_the_child = [
            child if n & ~_NOT_FOR_THE_CHILD == child else n
            for n in received
            if n != self._sentinel and (n < _NOT_FOR_THE_CHILD or n & ~_NOT_FOR_THE_CHILD == child)
        ]
        if self._origins or not self.terminal:
            return for_the_child
        # Nobody tells who sent these. A TTIN or TTOU is the terminal's, and so the whole group's.
        # An INT is taken for it in the foreground; in the background only kill(1) can have sent it.
        terminals = _READ_OR_WRITTEN
        if not _KEYBOARD.isdisjoint(for_the_child) and foreground_group() == os.getpgrp():
            terminals |= _KEYBOARD
        return [n for n in for_the_child if n not in terminals]

    def settle(self) -> None:
        """Note that the child has ended: what ends this process from now on is `hurried`.

        One Ctrl-C goes to the child and to us, and the child's death may be noticed first, so
        what was sent until now is taken before the count starts.
        """
        self._catch_up()
        self._backlog = b""
        self._child_ended = True

    def _catch_up(self) -> None:
        """Move everything that was sent to this process until now into the backlog."""
        self._backlog += self._read()
        if not self._origins:
            return
        # Pending signals are delivered lowest number first (signal(7)), so when the highest one
        # comes out of the pipe all that were sent before it have.
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        os.kill(os.getpid(), self._sentinel)
        while self._sentinel not in self._backlog:
            if not until_ready({self.fd: READ}, deadline):
                break
            self._backlog += self._read()
        self._backlog = self._backlog.replace(bytes((self._sentinel,)), b"")

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 65_536)
        except BlockingIOError:
            return b""

    def linger(self, done_fd: int, *, seconds: float, hurried_seconds: float) -> bool:
        """Sleep until `done_fd` is readable (true) or `seconds` are over (false).

        A TERM, INT, HUP or QUIT leaves at most `hurried_seconds` more from its arrival.
        """
        deadline = time.monotonic() + seconds
        was_hurried = False
        while True:
            self.take()
            if self.hurried and not was_hurried:
                was_hurried = True
                deadline = min(deadline, time.monotonic() + hurried_seconds)
            if done_fd in until_ready({done_fd: READ, self.fd: READ}, deadline):
                return True
            if time.monotonic() >= deadline:
                return False

    @property
    def follow_stops(self) -> bool:
        """Whether to stop when the child does, because somebody would continue us.

        That is a shell with job control. It has made us a group's leader in its own session, or
        else it stopped all of our group (a pipeline, a script), which `take` has seen. Otherwise
        somebody stopped the child alone, and will continue it alone.
        """
        own_pid = os.getpid()
        if os.getsid(0) == own_pid:
            return False
        return self._stop_came or os.getpgrp() == own_pid

    def stop_like(self, number: int) -> None:
        """Stop this process by the signal `number` that stopped the child; return once continued.

        So a shell sees its job stopped exactly when the command itself would have stopped.
        """
        # The Ctrl-Z that was for both must not be pending here, or we would stop twice.
        self._catch_up()
        self._backlog = bytes(n for n in self._backlog if n & ~_NOT_FOR_THE_CHILD not in _STOPPING)
        self._stop_came = False
        _do_default(number)

    def die_like(self, number: int) -> None:
        """End this process by the signal `number` that ended the child, without a core dump.

        A shell's `$?` is 128 + n either way, but a loop in an interactive shell goes on after a
        Ctrl-C unless what it ran was seen to die of SIGINT. Returns where the signal can't end
        this process: as PID 1.
        """
        from resource import RLIMIT_CORE, getrlimit, setrlimit

        setrlimit(RLIMIT_CORE, (0, getrlimit(RLIMIT_CORE)[1]))
        _do_default(number)


def _do_default(number: int) -> None:
    """Do what `number` does by default, then undo what that took.

    The signal goes to this very thread: sent to the process, the listening thread would take it.
    """
    if number in (signal.SIGSTOP, signal.SIGKILL):
        signal.raise_signal(number)
        return
    before = signal.signal(number, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    try:
        signal.raise_signal(number)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(number, before)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler's presence is what makes `signal.set_wakeup_fd` report the signal."""
