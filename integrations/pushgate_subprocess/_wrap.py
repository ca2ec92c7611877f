"""`pushgate run`: one command, its outcome pushed, its exit code passed on.

A command and RunOptions enter; the exit code leaves. The command is started before anything heavy
is imported, and nothing that goes wrong with metrics reaches it or its exit code.
"""

from __future__ import annotations

import os
import time
from _thread import start_new_thread

from pushgate_subprocess import _environment, _handoff, _output
from pushgate_subprocess._descriptors import pipe
from pushgate_subprocess._exec import NotStartedError
from pushgate_subprocess._lean import TYPE_CHECKING, signal
from pushgate_subprocess._process import spawn
from pushgate_subprocess._signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pushgate import Outcome
    from pushgate_subprocess._capture import Spool, Tail
    from pushgate_subprocess._child import Child
    from pushgate_subprocess._options import RunOptions
    from pushgate_subprocess._pusher import Pusher
    from pushgate_subprocess._report import Report
    from pushgate_subprocess._voice import Voice

    Say = Callable[[str], None]

__all__ = ("LOCKED", "UNUSABLE", "wrap")

UNUSABLE = 125  # the wrapper itself failed, as for env, timeout and nohup
LOCKED = 75  # EX_TEMPFAIL of sysexits.h: another run holds the lock

# After a TERM or Ctrl-C while the end is being pushed, at most this many seconds more.
_HURRIED_SECONDS = 1.0


def wrap(command: Sequence[str | bytes], options: RunOptions) -> int:
    """Run ``command`` and return the exit code to end with. For the main thread of a wrapper."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until Signals keeps them, signals end a wrapper that waits for a lock, without traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def say(text: str) -> None:
        if options.verbosity >= 0:
            _output.write_line(f"pushgate: {options.job}: {text}")

    lock, is_free, fault = None, True, None
    if options.lock is not None:
        from pushgate_subprocess._lock import acquire

        try:
            lock = acquire(options.lock, wait_seconds=options.lock_wait)
            is_free = lock is not None
        except OSError as error:
            fault = f"can't lock {options.lock}: {error.strerror}"
    try:
        wrapper = _Wrapper(options, say, lock)
    except OSError as error:
        say(f"not started: {error.strerror}")
        return UNUSABLE
    if fault is not None:
        return wrapper.fail(fault, UNUSABLE)
    if not is_free:
        return wrapper.skip()
    status = wrapper.run(command)
    wrapper.end_like_the_command()
    return status


class _Wrapper:
    """One wrapped run. Raises OSError where no descriptor is left for it."""

    def __init__(self, options: RunOptions, say: Say, lock: int | None) -> None:
        self._options = options
        self._say = say
        self._lock = lock
        self._handoff: str | None = None
        self._command_died_of: int | None = None
        self._done_fd, self._done_write_end = pipe()
        self._signals = Signals()

    def run(self, command: Sequence[str | bytes]) -> int:
        """Run ``command``."""
        self._handoff = _handoff.create()
        sinks = _output.sinks(self._options)
        try:
            try:
                child = self._start(command, sinks)
            except NotStartedError as error:
                return self.fail(str(error), error.exit_status)
            except OSError as error:
                return self.fail(f"not started: {error.strerror}", UNUSABLE)
            return self._accompany(child, sinks)
        finally:
            if self._handoff is not None:
                _handoff.remove(self._handoff)

    def end_like_the_command(self) -> None:
        """At a terminal, die of the Ctrl-C that the command died of; else, or if not, return.

        The shell's ``$?`` is the same, and only so does its loop end too, as without us.
        """
        by_hand = (signal.SIGINT, signal.SIGQUIT)
        if self._signals.terminal and self._command_died_of in by_hand:
            self._signals.die_like(self._command_died_of)

    def skip(self) -> int:
        """Another run holds the lock."""
        from pushgate_subprocess._lock import holders

        now, path = time.time(), self._options.lock or ""
        pids = " ".join(map(str, holders(path))) or "unknown"
        self._say(f"not started: {path} is locked, by pid {pids}")

        def judge() -> Outcome:
            from pushgate import Outcome, Status

            return Outcome(Status.SKIPPED, ended_at=now)

        self._end(self._pusher(now), judge)
        return 0 if self._options.on_locked == "skip" else LOCKED

    def fail(self, reason: str, exit_status: int) -> int:
        """The command could not be started."""
        now = time.time()
        self._say(reason)

        def judge() -> Outcome:
            from pushgate import CommandEnd, Outcome, Status

            command = CommandEnd(exit_status)
            return Outcome(Status.FAILURE, now, duration=0.0, command=command)

        self._end(self._pusher(now), judge)
        return exit_status

    def _start(self, command: Sequence[str | bytes], sinks: Sequence[Spool | Tail]) -> Child:
        set_env, unset_env = _environment.changes(self._handoff)
        _environment.without_coercion(set_env, unset_env)
        stdout, stderr = sinks or (None, None)
        return spawn(
            command,
            set_env=set_env,
            unset_env=unset_env,
            pass_fds=() if self._lock is None else (self._lock,),
            signals=self._signals,
            stdout=stdout,
            stderr=stderr,
        )

    def _accompany(self, child: Child, sinks: Sequence[Spool | Tail]) -> int:
        """The command runs: report its start, wait for its end, report that."""
        options = self._options
        pusher = self._pusher(child.started_at)
        if pusher is not None:
            pusher.begin()
        if self._lock is not None:
            from pushgate_subprocess._lock import record

            record(self._lock, os.getpid(), child.pid)
        if options.verbosity > 0:
            self._say(f"started, pid {child.pid}")
        if self._handoff is None:
            self._say("no metrics file: neither $TMPDIR nor /tmp can be written")
        ended = child.wait(
            timeout=options.timeout,
            kill_after=options.kill_after,
            timeout_signal=options.signal,
            preserve_status=options.preserve_status,
        )
        if self._lock is not None:
            from pushgate_subprocess._lock import release

            # The next run need not wait for our push.
            release(self._lock, inherited=not ended.timed_out)
        if not options.counts_as_success(ended):
            self._replay(sinks)

        def judge() -> Outcome:
            from pushgate_subprocess._outcome import outcome_of

            return outcome_of(ended, options)

        self._command_died_of = ended.signal
        self._end(pusher, judge)
        return ended.exit_status

    def _replay(self, sinks: Sequence[Spool | Tail]) -> None:
        """Print what was held back; a signal ends that, should nobody read it."""

        def replay() -> None:
            _output.replay(sinks)
            self._done()

        if sinks:
            try:
                start_new_thread(replay, ())
            except RuntimeError:  # the limit on threads is reached
                replay()
            self._linger(float("inf"))
        if lost := sum(getattr(sink, "lost", 0) for sink in sinks):
            self._say(f"the last {lost} bytes of output are lost: no room in $TMPDIR or /tmp")

    def _end(self, pusher: Pusher | None, judge: Callable[[], Outcome]) -> None:
        """Report the end, and wait for that as long as the deadline and the user allow."""
        if pusher is not None:
            pusher.end(judge, self._done)
            self._linger(self._options.push_timeout)
            pusher.close()

    def _done(self) -> None:
        os.write(self._done_write_end, b"x")

    def _linger(self, seconds: float) -> None:
        """Sleep until a thread calls `_done`, at most so long, and less if a signal comes."""
        if self._signals.linger(self._done_fd, seconds=seconds, hurried_seconds=_HURRIED_SECONDS):
            os.read(self._done_fd, 1)

    def _pusher(self, started_at: float) -> Pusher | None:
        """What reports this run; None where even that can't be had, which is said."""
        _output.occupy_standard_streams()
        try:
            from pushgate_subprocess._pusher import Pusher
        except Exception as error:
            self._say(f"not reported: {error!r}")
            return None
        options, handoff = self._options, self._handoff

        def make_report(voice: Voice) -> Report:
            # All that the end needs too: a job that upgrades pushgate takes the files away.
            from pushgate_subprocess import _handoff_text, _outcome, _textfile  # noqa: F401
            from pushgate_subprocess._delivery import configured_delivery
            from pushgate_subprocess._report import Report

            return Report(
                options,
                started_at=started_at,
                voice=voice,
                own_metrics=lambda key: (
                    ([], []) if handoff is None else _handoff.read(handoff, key)
                ),
                connect=configured_delivery,
            )

        return Pusher(
            make_report,
            heartbeat=options.heartbeat,
            push_timeout=options.push_timeout,
            say=self._say,
        )
