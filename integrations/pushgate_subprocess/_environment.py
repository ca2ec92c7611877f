"""The environment of a wrapped command: without our secrets, and with its metrics file.

The path of that file enters; what to set and what to remove leave, as `spawn` takes them.
"""

from __future__ import annotations

import os

from pushgate import child_environment

__all__ = ("changes",)


def changes(handoff: str | None) -> tuple[dict[str, str], set[str]]:
    """What to set in the command's environment, and what to remove from it.

    Without a ``handoff`` its metrics go nowhere, since ``echo ... >> ""`` would fail the script.
    """
    kept = child_environment(os.environ)
    changed = {name: value for name, value in kept.items() if os.environ[name] != value}
    changed["PUSHGATE_METRICS_FILE"] = handoff or os.devnull
    return changed, os.environ.keys() - kept.keys()
