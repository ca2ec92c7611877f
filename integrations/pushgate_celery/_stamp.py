"""The header that says when a message was published: written by publishers, read by workers.

The header ``pushgate`` is ``[published_at, first_published_at]`` in Unix seconds, and for a
periodic task ``interval, entry`` behind it, where the interval is the seconds until it is due
again. Both protocols of task messages carry it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("HEADER", "Due", "Stamp", "read", "write")

HEADER = "pushgate"
_LATEST = 1e11  # a larger value is in milliseconds, or wrong in another way


class Due(NamedTuple):
    """A periodic task that is being sent: its name, the schedule's entry, seconds to the next."""

    task: str
    entry: str
    interval: float


Stamp = tuple[float | None, float | None, float | None]
"""When a message was published, when its task was for the first time, and seconds until it is due
again; None is not known."""

_ABSENT: Stamp = (None, None, None)


def write(headers: dict[str, Any], body: object, now: float, due: Due | None) -> None:
    """Stamp ``headers``, which are of one message. A retry keeps when it was first published."""
    # Protocol 1 has the fields of the second's headers in the body.
    # https://docs.celeryq.dev/en/stable/internals/protocol.html
    fields = body if isinstance(body, dict) and "task" in body else headers
    first, interval, entry = now, None, None
    if fields.get("retries") or fields.get("replaced_task_nesting"):
        # Only then: user code may pass the headers of a running task on to another one.
        _, old_first, old_interval = _parsed(headers.get(HEADER))
        first = old_first or now
        if fields.get("retries"):
            interval, entry = old_interval, ""
    if due is not None:
        interval, entry = due.interval, due.entry
    headers[HEADER] = [now, first] if interval is None else [now, first, interval, entry]


def read(fields: Mapping[str, Any]) -> Stamp:
    """The stamp among a request's fields, all None without one."""
    value = fields.get(HEADER)  # protocol 2 puts custom headers beside its own
    if value is None:
        headers = fields.get("headers")
        if not isinstance(headers, dict) or (value := headers.get(HEADER)) is None:
            return _ABSENT
    return _parsed(value)


def _parsed(value: Any) -> Stamp:
    # Any program may have written it, and each task pays for the check.
    if type(value) is not list or not 2 <= len(value) <= 4:
        return _ABSENT
    published, first = value[0], value[1]
    return (
        published if type(published) is float and 0 < published < _LATEST else None,
        first if type(first) is float and 0 < first < _LATEST else None,
        _interval(value[2]) if len(value) > 2 else None,
    )


def _interval(value: object) -> float | None:
    return value if type(value) is float and 0 < value < _LATEST else None
