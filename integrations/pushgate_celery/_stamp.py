"""The header that says when a message was published: written by publishers, read by workers.

The header ``pushgate`` is ``[published_at, first_published_at]`` in Unix seconds, and for a
periodic task behind it the interval: seconds until it is due again. Both protocols of task messages
carry it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

HEADER = "pushgate"
_LATEST = 1e11  # a larger value is in milliseconds, or wrong in another way

Stamp = tuple[float, float, float | None]
"""When a message was published, when its task was for the first time, seconds until it is due."""


class Due(NamedTuple):
    """A periodic task that is being sent: its name, and the seconds until it is due again."""

    task: str
    interval: float


def write(headers: dict[str, Any], body: object, now: float, due: Due | None) -> None:
    """Stamp ``headers``, which are of one message. A retry keeps when it was first published."""
    # Protocol 1 has the fields of the second's headers in the body.
    # https://docs.celeryq.dev/en/stable/internals/protocol.html
    fields = body if isinstance(body, dict) and "task" in body else headers
    first, interval = now, None
    # Only then: user code may pass the headers of a running task on to another one.
    goes_on = fields.get("retries") or fields.get("replaced_task_nesting")
    if goes_on and (old := parsed(headers.get(HEADER))) is not None:
        first = old[1]
        if fields.get("retries"):
            interval = old[2]
    if due is not None:
        interval = due.interval
    headers[HEADER] = [now, first] if interval is None else [now, first, interval]


def parsed(value: Any) -> Stamp | None:
    """What a header says; None where it makes no sense: any program may have written it."""
    if type(value) is not list or not 2 <= len(value) <= 4:  # former versions wrote a fourth
        return None
    published, first = value[0], value[1]
    if type(published) is not float or type(first) is not float:
        return None
    if not (0 < published < _LATEST and 0 < first < _LATEST):
        return None
    interval = value[2] if len(value) > 2 else None
    is_good = type(interval) is float and 0 < interval < _LATEST
    return published, first, interval if is_good else None
