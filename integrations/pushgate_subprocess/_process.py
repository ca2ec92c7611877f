"""Start one child process, exactly as if it had been started without us.

A command and options enter; a running `Child` leaves, whose `wait` gives an `Ended`. Nothing
here measures, prints or pushes, and nothing slow is imported before the child runs.
"""

from __future__ import annotations

import os
import time

from pushgate_subprocess._child import Child
from pushgate_subprocess._descriptors import pipe
from pushgate_subprocess._exec import start
from pushgate_subprocess._lean import TYPE_CHECKING, signal
from pushgate_subprocess._terminal import has_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pushgate_subprocess._capture import Pump, Spool, Tail
    from pushgate_subprocess._signals import Signals


def spawn(
    argv: Sequence[bytes | str],
    *,
    set_env: Mapping[str, str] | None = None,
    unset_env: Iterable[str] = (),
    pass_fds: Iterable[int] = (),
    own_group: bool | None = None,
    signals: Signals | None = None,
    stdout: Tail | Spool | None = None,
    stderr: Tail | Spool | None = None,
) -> Child:
    """Start `argv`, byte for byte as given, and return the running child.

    `set_env` and `unset_env` change its environment, removals first. `pass_fds` are descriptors
    it inherits under the same number, such as a lock. `own_group` puts it into a process group of
    its own, which is then signalled as a whole; None does so unless there is a controlling
    terminal, because a background group must not read from one. `signals` are passed on to the
    child; with None this process's signals are left alone, and any thread may call. `stdout` and
    `stderr` capture a stream; with None it is inherited untouched.

    Raises NotStartedError when the command can't be run, and ValueError for an empty `argv` or a
    NUL in an argument.
    """
    if not argv:
        raise ValueError("no command given")
    arguments = [os.fsencode(argument) for argument in argv]
    environment = _environment(set_env or {}, unset_env)
    terminal = has_terminal() if signals is None else signals.terminal
    if own_group is None:
        own_group = not terminal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if signals is None else signals.child_mask

    shared = [fd for fd in pass_fds if not os.get_inheritable(fd)]
    pumps: list[Pump] = []
    theirs: dict[int, int] = {}
    spare = pipe()
    try:
        for number, sink in ((1, stdout), (2, stderr)):
            if sink is not None:
                read_end, theirs[number] = pipe()
                pumps.append(sink.pump(read_end))
        for fd in shared:
            os.set_inheritable(fd, True)
        # Two more for later, or nothing starts: an import of ours, and the libgcc_s that glibc
        # loads when Python ends a thread at its exit; without it glibc aborts.
        for fd in pipe():
            os.close(fd)
        started_at, clock = time.time(), time.monotonic()
        pid = start(arguments, environment, own_group=own_group, mask=mask, descriptors=theirs)
    except BaseException:
        for pump in pumps:
            pump.close()
        for fd in spare:
            os.close(fd)
        raise
    finally:
        for fd in shared:
            os.set_inheritable(fd, False)
        for fd in theirs.values():
            os.close(fd)
    return Child(pid, spare, own_group, signals, pumps, started_at, clock)


def _environment(set_env: Mapping[str, str], unset_env: Iterable[str]) -> dict[bytes, bytes]:
    changed = {os.fsencode(name): os.fsencode(value) for name, value in set_env.items()}
    removed = {os.fsencode(name) for name in unset_env}
    return {n: v for n, v in os.environb.items() if n not in removed} | changed
