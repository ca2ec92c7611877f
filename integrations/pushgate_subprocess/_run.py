"""`run([...])`: a command from Python, with its outcome reported and handed back.

An argument vector enters; a Result leaves. Like `pushgate run`, but for a thread of somebody's
program: no signal handler, and no exit.
"""

from __future__ import annotations

import resource
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from pushgate import CommandEnd, Outcome, Status
from pushgate_subprocess import _ended, _environment, _handoff
from pushgate_subprocess._arguments import period, seconds, settings
from pushgate_subprocess._capture import Tail
from pushgate_subprocess._exec import NOT_EXECUTABLE, NotStartedError
from pushgate_subprocess._in_progress import new_pusher
from pushgate_subprocess._options import RunOptions
from pushgate_subprocess._outcome import outcome_of
from pushgate_subprocess._process import spawn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pushgate import Gateway
    from pushgate_subprocess._child import Child
    from pushgate_subprocess._ended import Ended
    from pushgate_subprocess._pusher import Pusher

__all__ = ("Result", "run")

# Which `wait` would import: a KeyboardInterrupt in the midst of an import gets lost when it comes
# in the weakref callback of the import's lock (https://github.com/python/cpython/issues/95959).
_BEFOREHAND = (_ended, resource)


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
    argument that can't be used. A gateway that fails raises nothing.
    """
    options = RunOptions(
        job=job,
        groups=dict(group or {}),
        settings=settings(gateway),
        timeout=timeout if timeout is None else period(timeout),
        kill_after=seconds(kill_after),
        success_codes=frozenset(success_codes),
        min_duration=seconds(min_duration),
        expect_every=expect_every if expect_every is None else period(expect_every),
        heartbeat=heartbeat if heartbeat is None else period(heartbeat),
        push_timeout=period(push_timeout),
        start_push=start_push,
        tail_bytes=tail_bytes,
    )
    handoff = _handoff.create()
    pusher = new_pusher(
        options,
        gateway,
        lambda key: ([], []) if handoff is None else _handoff.read(handoff, key),
    )
    try:
        return _run(command, options, pusher, handoff)
    finally:
        if handoff is not None:
            _handoff.remove(handoff)


def _run(
    command: Sequence[str | bytes], options: RunOptions, pusher: Pusher, handoff: str | None
) -> Result:
    limit = options.tail_bytes
    tails = None if limit is None else (Tail(limit), Tail(limit))
    set_env, unset_env = _environment.changes(handoff)
    try:
        child = spawn(
            command,
            set_env=set_env,
            unset_env=unset_env,
            stdout=tails and tails[0],
            stderr=tails and tails[1],
        )
    except OSError as error:
        status = error.exit_status if isinstance(error, NotStartedError) else NOT_EXECUTABLE
        end = CommandEnd(status)
        _report_end(pusher, Outcome(Status.FAILURE, time.time(), duration=0.0, command=end))
        raise
    try:
        pusher.begin()
        ended = child.wait(timeout=options.timeout, kill_after=options.kill_after)
    except ChildProcessError:
        now = time.time()
        _report_end(pusher, Outcome(Status.FAILURE, now, duration=max(0.0, now - child.started_at)))
        raise
    except BaseException:
        _report_end(pusher, outcome_of(_stop(child, options.kill_after), options))
        raise
    outcome = outcome_of(ended, options)
    _report_end(pusher, outcome)
    return Result(
        exit_status=ended.exit_status,
        returncode=ended.returncode,
        signal=ended.signal,
        timed_out=ended.timed_out,
        duration=ended.duration,
        success=outcome.status is Status.SUCCESS,
        stdout=tails and tails[0].content(),
        stderr=tails and tails[1].content(),
    )


def _report_end(pusher: Pusher, outcome: Outcome) -> None:
    pusher.end(lambda: outcome)
    pusher.wait()


def _stop(child: Child, kill_after: float) -> Ended:
    """End the command as its caller goes away: TERM, and KILL after ``kill_after`` seconds."""
    child.send(signal.SIGTERM)
    so_far = time.time() - child.started_at
    return child.wait(timeout=so_far + kill_after, timeout_signal=signal.SIGKILL)
