"""`pushgate run`: one command, its outcome pushed, its exit code passed on.

The command is started before anything heavy is imported, and nothing that goes wrong with metrics
reaches it or its exit code.
"""

from __future__ import annotations

import os
import signal
import time
from _thread import start_new_thread
from contextlib import suppress

from pushgate import MetricsFile
from pushgate_subprocess import _output
from pushgate_subprocess._descriptors import pipe
from pushgate_subprocess._signals import Signals
from pushgate_subprocess._spawn import NotStartedError, command_environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from pushgate import Outcome
    from pushgate_subprocess._capture import Capture
    from pushgate_subprocess._child import Child
    from pushgate_subprocess._run_options import RunOptions
    from pushgate_subprocess._run_report import RunReport

    Say = Callable[[str], None]

UNUSABLE = 125  # the wrapper itself failed, as for env, timeout and nohup
LOCKED = 75  # EX_TEMPFAIL of sysexits.h: another run holds the lock

# After a TERM or Ctrl-C, at most so many seconds more: for what is being printed or pushed, then
# for keeping what was not pushed.
_HURRIED_SECONDS = 0.25
_HURRIED_KEEP_SECONDS = 0.75

_REPLAYED, _REPORTED = b"o", b"r"  # what threads write when they are done


def wrap(command: Sequence[str | bytes], options: RunOptions) -> int:
    """Run ``command`` and return the exit code to end with. For the main thread of a wrapper."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until Signals keeps them, signals end a wrapper that waits for a lock, without traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def say(text: str) -> None:
        if options.verbosity >= 0:
            _output.write_line(f"pushgate: {options.job}: {text}")

    lock, fault = None, ""
    if options.lock is not None:
        from pushgate_subprocess._lock import acquire

        try:
            lock = acquire(options.lock, wait_seconds=options.lock_wait)
        except OSError as error:
            fault = f"can't lock {options.lock}: {error.strerror}"
    try:
        wrapper = _Wrapper(options, say, lock)
    except OSError as error:
        say(f"not started: {error.strerror}")
        return UNUSABLE
    if fault:
        return wrapper.fail(fault, UNUSABLE)
    if options.lock is not None and lock is None:
        return wrapper.skip(options.lock)
    return wrapper.run(command)


class _Wrapper:
    """One wrapped run. Raises OSError where no descriptor is left for it."""

    def __init__(self, options: RunOptions, say: Say, lock: int | None) -> None:
        self._options = options
        self._say = say
        self._lock = lock
        self._metrics_file: MetricsFile | None = None
        self._done_fd, self._done_write_end = pipe()
        self._signals = Signals()

    def run(self, command: Sequence[str | bytes]) -> int:
        """Run ``command``."""
        options, captures = self._options, self._captures()
        file = self._metrics_file = MetricsFile()
        try:
            try:
                child = spawn(
                    command,
                    command_environment(file.path, is_wrapper=True),
                    lock=self._lock,
                    signals=self._signals,
                    captures=captures,
                )
            except NotStartedError as error:
                return self.fail(str(error), error.exit_status)
            except OSError as error:
                return self.fail(f"not started: {error.strerror}", UNUSABLE)
            report = self._new_report(child.started_at)
            if report is not None:
                report.begin()
            self._note_start(child, file)
            ended = child.wait(
                timeout=options.timeout,
                kill_after=options.kill_after,
                timeout_signal=options.signal,
            )
            if self._lock is not None:
                from pushgate_subprocess._lock import release

                # The next run need not wait for our push.
                release(self._lock, inherited=not ended.timed_out)
            if not options.counts_as_success(ended):
                self._replay(captures)
            self._end(report, lambda: _outcomes().outcome_of(ended, options))
        finally:
            file.remove()
        if self._signals.terminal and ended.signal in (signal.SIGINT, signal.SIGQUIT):
            self._signals.die_like(ended.signal)  # so that a shell's loop ends
        return ended.exit_status(preserve=options.preserve_status)

    def skip(self, path: str) -> int:
        """Another run holds the lock ``path``."""
        from pushgate_subprocess._lock import holders

        now, pids = time.time(), " and ".join(map(str, holders(path)))
        self._say(f"not started: {path} is locked, by pid {pids or 'unknown'}")
        self._end(self._new_report(now), lambda: _outcomes().skipped(now))
        return 0 if self._options.on_locked == "skip" else LOCKED

    def fail(self, reason: str, exit_status: int) -> int:
        """The command could not be started."""
        now = time.time()
        self._say(reason)
        self._end(self._new_report(now), lambda: _outcomes().not_started(exit_status, now))
        return exit_status

    def _captures(self) -> tuple[Capture, ...]:
        limit = self._options.tail_bytes
        if limit is None and not self._options.quiet_on_success:
            return ()
        from pushgate_subprocess._capture import Capture

        return Capture(limit), Capture(limit)

    def _note_start(self, child: Child, file: MetricsFile) -> None:
        if self._lock is not None:
            from pushgate_subprocess._lock import record

            record(self._lock, os.getpid(), child.pid)
        if self._options.verbosity > 0:
            self._say(f"started, pid {child.pid}")
        file.remove_leftovers()
        if file.path is None:
            self._say("no metrics file: none of $TMPDIR, /tmp and /dev/shm can be written")

    def _replay(self, captures: Sequence[Capture]) -> None:
        """Print what was held back; a signal ends that, should nobody read it."""

        def replay() -> None:
            for fd, capture in enumerate(captures, start=1):
                with suppress(OSError):  # the reader of our output is gone
                    capture.replay(fd)
            os.write(self._done_write_end, _REPLAYED)

        if captures:
            try:
                start_new_thread(replay, ())
            except RuntimeError:  # the limit on threads is reached
                replay()
            self._linger(_REPLAYED, float("inf"))
        if lost := sum(capture.lost for capture in captures):
            self._say(f"the last {lost} bytes of output are lost: no room in $TMPDIR or /var/tmp")

    def _new_report(self, started_at: float) -> RunReport | None:
        """What reports this run; None where even that can't be had, which is said."""
        _output.occupy_standard_streams()
        try:
            from pushgate_subprocess._run_report import RunReport
        except Exception as error:
            self._say(f"not reported: {error!r}")
            return None
        file = self._metrics_file
        return RunReport(
            self._options,
            started_at=started_at,
            own_metrics=lambda key, complain: file.read(key, complain) if file else [],
            write=self._say,
        )

    def _end(self, report: RunReport | None, judge: Callable[[], Outcome]) -> None:
        """Report the end, and wait for that as long as the deadline and the user allow."""
        if report is not None:
            report.finish(judge, lambda: os.write(self._done_write_end, _REPORTED))
            if not self._linger(_REPORTED, self._options.push_timeout):
                from pushgate_subprocess._run_report import KEEP_SECONDS

                report.keep()
                self._linger(_REPORTED, KEEP_SECONDS, _HURRIED_KEEP_SECONDS)
            report.close()

    def _linger(
        self, awaited: bytes, seconds: float, hurried_seconds: float = _HURRIED_SECONDS
    ) -> bool:
        """Sleep until a thread writes `awaited`, or so long, or less if a signal comes."""
        until = time.monotonic() + seconds
        while self._signals.linger(self._done_fd, until, hurried_seconds=hurried_seconds):
            if os.read(self._done_fd, 1) == awaited:  # else a thread that was left behind is done
                return True
        return False


def _outcomes() -> ModuleType:
    """The module of outcomes, which is imported in the thread that reports."""
    from pushgate_subprocess import _outcome

    return _outcome
