"""Start a command as a shell would: the search in PATH, the fallback to /bin/sh, the refusals.

An argument vector and an environment enter, as bytes; the child's process id leaves, or a
`NotStartedError` with the exit status that a shell gives.

posix_spawn(3) rather than fork: it is safe in a threaded program, doesn't copy page tables, needs
no import, reports exec's error, and leaves open what a parent passed on purpose (the bare command
would have got it too); our own descriptors are close-on-exec, as are all of Python's.
"""

from __future__ import annotations

import errno
import os

from pushgate_subprocess._lean import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NOT_FOUND = 127
NOT_EXECUTABLE = 126

# execvp(3) goes on to the next directory of PATH after these.
_SEARCH_ON = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT})

# Python ignores these two from its start, and an ignored signal stays ignored through exec:
# `yes | head` would never end. Popen restores them as well, posix_spawn doesn't.
_IGNORED_BY_PYTHON = tuple(
    int(getattr(signal, name)) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)
)


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


def start(
    argv: list[bytes],
    environment: Mapping[bytes, bytes],
    *,
    own_group: bool,
    mask: Iterable[int],
    descriptors: Mapping[int, int],
) -> int:
    """Start argv[0] with `environment` and return its process id.

    `own_group` puts it into a new process group; `mask` is its set of blocked signals;
    `descriptors` maps its descriptor numbers to ours. Raises NotStartedError, and ValueError for
    an argument with a NUL in it.
    """
    actions = [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in descriptors.items()]

    def execute(path: bytes, arguments: list[bytes]) -> int:
        if own_group:
            return os.posix_spawn(
                path,
                arguments,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=mask,
                setsigdef=_IGNORED_BY_PYTHON,
            )
        return os.posix_spawn(
            path,
            arguments,
            environment,
            file_actions=actions,
            setsigmask=mask,
            setsigdef=_IGNORED_BY_PYTHON,
        )

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


def _candidates(command: bytes, environment: Mapping[bytes, bytes]) -> Iterator[bytes]:
    if b"/" in command:
        yield command
    elif command:
        for directory in environment.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
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
    elif number == errno.EACCES:
        reason = "permission denied: not executable (chmod +x, or name its interpreter)"
    else:
        reason = os.strerror(number)
    return NotStartedError(command, number, status, reason)
