"""What waits, as values, and how a further change alters it. Enters: an entry and a change, with
its moment. Leaves: the entry after it. Pure.

Changes commute: a PUT, POST or DELETE that began later wins, in whatever order they come in. So an
entry is bounded by its families and not by how many changes made it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "Change",
    "Entry",
    "Flushed",
    "Kept",
    "Note",
    "WaitingGroup",
    "after_delivery",
    "merged",
)


class Flushed(NamedTuple):
    """How a flush went. ``delivered`` and ``left`` count groups.

    ``dropped`` has a line for each group of which something was not sent because the gateway holds
    newer, or refused for good, and why. ``error`` is what ended it early.
    """

    delivered: int = 0
    dropped: tuple[str, ...] = ()
    left: int = 0
    error: Exception | None = None


class WaitingGroup(NamedTuple):
    """A group of which something waits for the gateway ``url``.

    ``method`` is what would be sent with the ``families`` of these names. ``since``, in Unix
    seconds, is when the first of it was tried, ``tries`` how often it was tried since.
    """

    url: str
    labels: dict[str, str]
    method: str
    families: tuple[str, ...]
    since: float
    tries: int
    last_error: str | None


class Kept(NamedTuple):
    """A family's part of a body, and when the sending of it began, in Unix seconds."""

    body: bytes
    at: float
    kind: str = "text"


class Change(NamedTuple):
    """A PUT, POST or DELETE that began ``at``, in Unix seconds. A DELETE has no families."""

    method: str
    families: Mapping[str, bytes]
    at: float
    kind: str = "text"

    @property
    def kept(self) -> dict[str, Kept]:
        """The families as they are kept."""
        return {name: Kept(body, self.at, self.kind) for name, body in self.families.items()}

    @property
    def is_heartbeat(self) -> bool:
        """A POST of nothing, which is of no use later."""
        return self.method == "POST" and not self.families


class Note(NamedTuple):
    """A change of what waits for a group: to be kept, or, if ``delivered``, to be forgotten.

    ``error`` says why it was not delivered, ``unanswered`` has the fingerprints of what the gateway
    may have taken, or may take yet, all the same.
    """

    url: str
    labels: Mapping[str, str]
    change: Change
    error: str | None = None
    unanswered: tuple[tuple[str, str], ...] = ()
    delivered: bool = False


class Entry(NamedTuple):
    """What waits for one group: a PUT or DELETE that began ``base_at``, if any, and families."""

    base: str | None = None
    base_at: float = 0.0
    families: Mapping[str, Kept] = MappingProxyType({})

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.base is None and not self.families

    @property
    def method(self) -> str:
        """What delivers it."""
        if self.base is None:
            return "POST"
        return "PUT" if self.families else self.base


def merged(entry: Entry, change: Change, now: float) -> Entry:
    """``entry`` after ``change``. ``now`` is the time, in Unix seconds.

    What is kept of a time that has not come is of a clock that was set back: it counts as older.
    """
    at = min(change.at, now)
    entry = _without_future(entry, at, now)
    if entry.base_at > at:
        return entry
    new = change._replace(at=at).kept
    if change.method == "POST":
        newer = {n: kept for n, kept in entry.families.items() if n in new and kept.at > at}
        return entry._replace(families={**entry.families, **new, **newer})
    newer = {name: kept for name, kept in entry.families.items() if kept.at > at}
    return Entry(change.method, at, {**new, **newer})


def after_delivery(entry: Entry, change: Change, now: float) -> Entry:
    """What still waits once the gateway has taken ``change``.

    A POST on top of a PUT or DELETE that still waits becomes part of it: that would undo the POST.
    """
    entry, at = merged(entry, change, now), min(change.at, now)
    if change.method == "POST" and entry.base is not None:
        return entry
    left = {name: kept for name, kept in entry.families.items() if kept.at != at}
    return Entry(families=left) if entry.base_at == at else entry._replace(families=left)


def _without_future(entry: Entry, at: float, now: float) -> Entry:
    if entry.base_at <= now and all(kept.at <= now for kept in entry.families.values()):
        return entry
    families = {
        name: kept._replace(at=at) if kept.at > now else kept
        for name, kept in entry.families.items()
    }
    return Entry(entry.base, at if entry.base_at > now else entry.base_at, families)
