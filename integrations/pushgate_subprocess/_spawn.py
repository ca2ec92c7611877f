"""Start a command exactly as a shell would, without one.

The search in PATH, the fallback to /bin/sh and the exit statuses are a shell's. posix_spawn(3)
rather than fork: it is safe in a threaded program, doesn't copy page tables, needs no import,
reports exec's error, and leaves open what a parent passed on purpose (the bare command would have
got it too); our own descriptors are close-on-exec, as are all of Python's.
"""

from __future__ import annotations

import errno
import os
import signal
import time

from pushgate import child_environment
from pushgate_subprocess._child import Child
from pushgate_subprocess._descriptors import check_left
from pushgate_subprocess._signals import has_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from pushgate_subprocess._capture import Capture
    from pushgate_subprocess._signals import Signals

NOT_FOUND = 127
NOT_EXECUTABLE = 126

# execvp(3) goes on to the next directory of PATH after these.
_SEARCH_ON = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT})

_OF_A_SHELL = (b"cd", b"exec", b"export", b"set", b"source", b"ulimit", b"umask")

# Python ignores these two from its start, and an ignored signal stays ignored through exec:
# `yes | head` would never end. Popen restores them as well, posix_spawn doesn't.
_IGNORED_BY_PYTHON = [getattr(signal, n) for n in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, n)]


class NotStartedError(OSError):
    """The command could not be started.

    `exit_status` is what a shell would exit with, 126 or 127; the text says why.
    """

    exit_status: int

    def __init__(self, command: bytes, number: int, exit_status: int, reason: str) -> None:
        super().__init__(number, reason, os.fsdecode(command))
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def spawn(
    argv: Sequence[bytes | str],
    environment: Mapping[str, str],
    *,
    lock: int | None = None,
    signals: Signals | None = None,
    captures: Sequence[Capture] = (),
) -> Child:
    """Start `argv`, byte for byte as given, and return the running child.

    It inherits the descriptor `lock` under the same number. Unless there is a controlling terminal
    it leads a process group of its own, which is then signalled as a whole: a background group must
    not read from a terminal. `signals` are passed on to it; with None this process's signals are
    left alone, and any thread may call. `captures` keep its stdout and stderr; without them it has
    this process's.

    Raises NotStartedError when the command can't be run, ValueError for an empty `argv` or a NUL in
    an argument, and TypeError for an `argv` that is one text.
    """
    if not argv:
        raise ValueError("no command given")
    if isinstance(argv, (str, bytes)):  # its characters would be taken for words
        raise TypeError(f"{argv!r} is no list of words; write ['ls', '-l'] in place of 'ls -l'")
    arguments = [os.fsencode(argument) for argument in argv]
    own_group = not (has_terminal() if signals is None else signals.terminal)
    mask = signals.child_mask if signals else signal.pthread_sigmask(signal.SIG_BLOCK, ())
    group: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    actions: list[tuple[int, int, int]] = []
    try:
        for number, capture in enumerate(captures, start=1):
            actions.append((os.POSIX_SPAWN_DUP2, capture.open(), number))
        if lock is not None:
            os.set_inheritable(lock, True)
        # For a pidfd, the imports of a thread, and the libgcc_s that glibc loads when Python ends a
        # thread at its exit, or else aborts.
        check_left(4)
        started_at, clock = time.time(), time.monotonic()
        pid = _start(
            arguments,
            environment,
            lambda path, words: os.posix_spawn(
                path,
                words,
                environment,
                file_actions=actions,
                setsigmask=mask,
                setsigdef=_IGNORED_BY_PYTHON,
                **group,
            ),
        )
    except BaseException:
        for capture in captures:
            capture.close()
        raise
    finally:
        if lock is not None:
            os.set_inheritable(lock, False)
        for _, fd, _ in actions:
            os.close(fd)
    return Child(pid, own_group, signals, captures, started_at, clock)


def command_environment(metrics_file: str | None, *, is_wrapper: bool) -> dict[str, str]:
    """The environment of a command: ours without secrets, and with its metrics file.

    Without a metrics file its metrics go nowhere, since ``echo ... >> ""`` would fail the script.
    `is_wrapper`: undo, for a process that is only a wrapper, what Python did to LC_CTYPE in the C
    locale (https://peps.python.org/pep-0538/): it sets C.UTF-8, also for children. Under cron,
    `wc -m` and `sed` would then count characters where the bare command counts bytes.
    """
    environment = child_environment(os.environ)
    environment["PUSHGATE_METRICS_FILE"] = metrics_file or os.devnull
    if not is_wrapper:
        return environment
    try:
        with open("/proc/self/environ", "rb") as file:
            before = dict(line.partition(b"=")[::2] for line in file.read().split(b"\0"))
    except OSError:  # no Linux: what Python was started with can't be told
        return environment
    if (value := before.get(b"LC_CTYPE")) is not None:
        environment["LC_CTYPE"] = os.fsdecode(value)
    else:
        environment.pop("LC_CTYPE", None)
    return environment


def _start(
    argv: list[bytes],
    environment: Mapping[str, str],
    execute: Callable[[bytes, list[bytes]], int],
) -> int:
    """The process id of what `execute` has started. Raises NotStartedError."""
    command = argv[0]
    tried, failure = command, errno.ENOENT
    for path in _candidates(command, environment):
        try:
            return execute(path, argv)
        except OSError as error:
            number = error.errno or errno.EIO
        if number == errno.ENOEXEC:
            # A script without `#!`: a shell, env and timeout run it by /bin/sh.
            script = b"./" + path if path.startswith(b"-") else path
            try:
                return execute(b"/bin/sh", [b"/bin/sh", script, *argv[1:]])
            except OSError as error:
                number = error.errno or errno.EIO
        if failure != errno.EACCES:
            tried, failure = path, number
        if number not in _SEARCH_ON:
            break
    raise _refusal(command, tried, failure)


def _candidates(command: bytes, environment: Mapping[str, str]) -> Iterator[bytes]:
    if b"/" in command:
        yield command
    elif command:
        for directory in os.fsencode(environment.get("PATH", os.defpath)).split(b":"):
            path = directory + b"/" + command if directory else command
            # Far cheaper than a process that finds out; a name that vanishes now is found out.
            if os.path.lexists(path):
                yield path


def _refusal(command: bytes, tried: bytes, number: int) -> NotStartedError:
    status = NOT_FOUND if number in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
    if b"/" in tried and os.path.isdir(tried):
        reason = "is a directory"
    elif status == NOT_FOUND:
        if b"/" in tried and os.path.exists(tried):
            reason = "its interpreter was not found (see its first line)"
        else:
            reason = "no such file" if b"/" in command else "command not found"
        if b" " in command:
            reason += "; that is one word: leave its quotes out, or use sh -c 'COMMAND | ...'"
        elif b"=" in command or command in _OF_A_SHELL:
            reason += "; that is for a shell: sh -c 'cd DIR && COMMAND', or env NAME=VALUE COMMAND"
    elif number == errno.EACCES:
        reason = "permission denied: not executable (chmod +x, or name its interpreter)"
    else:
        reason = os.strerror(number)
    return NotStartedError(command, number, status, reason)
