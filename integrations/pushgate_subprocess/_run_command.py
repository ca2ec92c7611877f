"""`run([...])`: a command from Python, with its outcome reported and handed back.

Like `pushgate run`, but for a thread of another program: no signal handler, and no exit.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from pushgate import MetricsFile, Outcome, Status
from pushgate_subprocess._capture import Capture
from pushgate_subprocess._outcome import not_started, outcome_of
from pushgate_subprocess._run_options import run_options
from pushgate_subprocess._run_report import RunReport, log_writer
from pushgate_subprocess._spawn import (
    NOT_EXECUTABLE,
    NotStartedError,
    command_environment,
    spawn,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pushgate import Gateway
    from pushgate_subprocess._child import Child
    from pushgate_subprocess._child_end import ChildEnd
    from pushgate_subprocess._run_options import RunOptions


class Result(NamedTuple):
    """How a command ended. ``duration`` is in seconds.

    ``exit_status`` is a shell's (128+n for signal n, 124 for the time limit), ``returncode`` the
    command's own, or -n. ``stdout`` and ``stderr`` are the ends of its streams if asked for.
    """

    exit_status: int
    returncode: int
    signal: int | None
    timed_out: bool
    duration: float
    success: bool
    stdout: bytes | None
    stderr: bytes | None


def run(
    command: Sequence[str | bytes],
    *,
    job: str,
    group: Mapping[str, str] | None = None,
    gateway: Gateway | str | None = None,
    timeout: float | str | None = None,
    kill_after: float | str = 10.0,
    success_codes: Iterable[int] = (0,),
    min_duration: float | str = 0.0,
    expect_every: float | str | None = None,
    heartbeat: float | str | None = None,
    push_timeout: float | str = 10.0,
    start_push: bool = True,
    tail_bytes: int | None = None,
) -> Result:
    """Run ``command``, report its outcome, and return it, whatever its exit code.

    The options mean what ``pushgate run --help`` says of them; durations are in seconds, or text
    such as ``"90s"``. With ``tail_bytes`` the last bytes of each stream are kept, else the command
    has this process's streams. If waiting is interrupted (KeyboardInterrupt), the command is
    ended, and that is reported and raised.

    Raises OSError where the command can't be started or, in a process that ignores SIGCHLD, its
    end can't be known; either is reported as a failure too. Raises ValueError for an option or
    argument that can't be used, and TypeError for a command that is one text. A gateway that fails
    raises nothing.
    """
    options = run_options(
        job,
        group,
        gateway,
        timeout=timeout,
        kill_after=kill_after,
        success_codes=frozenset(success_codes),
        min_duration=min_duration,
        expect_every=expect_every,
        heartbeat=heartbeat,
        push_timeout=push_timeout,
        start_push=start_push,
        tail_bytes=tail_bytes,
    )
    file = MetricsFile()
    report = RunReport(
        options,
        started_at=time.time(),
        own_metrics=file.read,
        write=log_writer(job),
    )
    try:
        return _run(command, options, report, file)
    finally:
        file.remove()


def _run(
    command: Sequence[str | bytes], options: RunOptions, report: RunReport, file: MetricsFile
) -> Result:
    limit = options.tail_bytes
    tails = () if limit is None else (Capture(limit), Capture(limit))
    try:
        child = spawn(command, command_environment(file.path, is_wrapper=False), captures=tails)
    except OSError as error:
        status = error.exit_status if isinstance(error, NotStartedError) else NOT_EXECUTABLE
        report.report_end(not_started(status, time.time()))
        raise
    try:
        report.begin()
        file.remove_leftovers()
        end = child.wait(timeout=options.timeout, kill_after=options.kill_after)
    except ChildProcessError:
        now = max(time.time(), child.started_at)  # the clock may have been set back
        report.report_end(Outcome(Status.FAILURE, now, duration=now - child.started_at))
        raise
    except BaseException:
        report.report_end(outcome_of(_stop(child, options.kill_after), options))
        raise
    outcome = outcome_of(end, options)
    report.report_end(outcome)
    return Result(
        exit_status=end.exit_status(),
        returncode=end.returncode,
        signal=end.signal,
        timed_out=end.timed_out,
        duration=end.duration,
        success=outcome.status is Status.SUCCESS,
        stdout=tails[0].content() if tails else None,
        stderr=tails[1].content() if tails else None,
    )


def _stop(child: Child, kill_after: float) -> ChildEnd:
    """End the command as its caller goes away: TERM, and KILL after ``kill_after`` seconds."""
    child.send(signal.SIGTERM)
    return child.wait(timeout=child.age() + kill_after, timeout_signal=signal.SIGKILL)
