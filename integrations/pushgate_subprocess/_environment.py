"""The environment of a wrapped command: without our secrets, and with its metrics file.

The path of that file enters; what to set and what to remove leave, as `spawn` takes them.
"""

from __future__ import annotations

import os

from pushgate import child_environment

__all__ = ("changes", "without_coercion")


def changes(handoff: str | None) -> tuple[dict[str, str], set[str]]:
    """What to set in the command's environment, and what to remove from it.

    Without a ``handoff`` its metrics go nowhere, since ``echo ... >> ""`` would fail the script.
    """
    kept = child_environment(os.environ)
    changed = {name: value for name, value in kept.items() if os.environ[name] != value}
    changed["PUSHGATE_METRICS_FILE"] = handoff or os.devnull
    return changed, os.environ.keys() - kept.keys()


def without_coercion(changed: dict[str, str], removed: set[str]) -> None:
    """Undo, for a process that is only a wrapper, what Python did to LC_CTYPE in the C locale.

    https://peps.python.org/pep-0538/: it sets C.UTF-8, also for children. Under cron, `wc -m` and
    `sed` would then count characters where the bare command counts bytes.
    """
    try:
        with open("/proc/self/environ", "rb") as environ:
            before = dict(line.partition(b"=")[::2] for line in environ.read().split(b"\0"))
    except OSError:  # no Linux: what Python was started with can't be told
        return
    value = before.get(b"LC_CTYPE")
    if value is None:
        removed.add("LC_CTYPE")
    else:
        changed["LC_CTYPE"] = os.fsdecode(value)
