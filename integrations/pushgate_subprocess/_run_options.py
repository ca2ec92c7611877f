"""What the user asked of a run, as one value with the defaults."""

from __future__ import annotations

import signal
from types import SimpleNamespace

from pushgate import OptionSource, read_options, readers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pushgate import Gateway
    from pushgate_subprocess._child_end import ChildEnd


class RunOptions(SimpleNamespace):
    """Options of one run; durations in seconds. (A NamedTuple would delay the command by 1 ms.)

    ``job`` and ``group`` are the grouping key, ``settings`` the gateway's settings as flags, and
    ``gateway`` is the caller's own, if it has one. The rest is spelled out in ``pushgate run
    --help``, under the same names.
    """

    job: str
    group: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}
    gateway: Gateway | None = None
    # the command
    timeout: float | None = None
    kill_after: float = 10.0
    signal: int = signal.SIGTERM
    preserve_status: bool = False
    # what counts as success
    success_codes: frozenset[int] = frozenset({0})
    min_duration: float = 0.0
    # overlap
    lock: str | None = None
    lock_wait: float = 0.0
    on_locked: str = "skip"
    # what is published
    expect_every: float | str | None = None
    heartbeat: float | None = None
    start_push: bool = True
    push_timeout: float = 10.0
    dry_run: bool = False
    textfile: str | None = None
    # output
    quiet_on_success: bool = False
    tail_bytes: int | None = None
    verbosity: int = 0

    def counts_as_success(self, end: ChildEnd) -> bool:
        """Whether a command that ended so has succeeded."""
        return (
            not end.timed_out
            and end.signal is None
            and end.exit_status() in self.success_codes
            and end.duration >= self.min_duration
        )


def run_options(
    job: str, group: Mapping[str, str] | None, gateway: Gateway | str | None, **given: Any
) -> RunOptions:
    """The options of the Python API; None is not given. Raises ValueError or TypeError."""
    if isinstance(gateway, str):
        given["settings"] = {"gateway": gateway}
    elif gateway is not None:
        from pushgate import Gateway

        if not isinstance(gateway, Gateway):
            raise TypeError(f"gateway={gateway!r}: give a Gateway, a URL or None")
        given["gateway"] = gateway
    if not hasattr(group or {}, "keys"):
        raise TypeError(f"group={group!r}: give names and values, such as {{'table': 'orders'}}")
    mine = {name: given.pop(name) for name in READERS if name in given}
    values, _ = read_options(READERS, OptionSource(mine))
    return RunOptions(job=job, group=dict(group or {}), **values, **given)


READERS: Mapping[str, Callable[[Any, OptionSource], Any]] = {
    "timeout": readers.positive_duration,
    "kill_after": readers.duration,
    "min_duration": readers.duration,
    "lock": readers.path,
    "lock_wait": readers.duration,
    "on_locked": readers.choice("skip", "fail"),
    "expect_every": readers.schedule,
    "heartbeat": readers.positive_duration,
    "push_timeout": readers.positive_duration,
    "textfile": readers.path,
    "tail_bytes": readers.count(most=2**40),
}
"""What reads an option's value, in Python and on the command line."""
