"""The changes that wait for one group, and how a further change alters them. Pure.

Changes commute: a PUT, POST or DELETE that began later wins, in whatever order they are stored. So
an entry is bounded by its families and not by the number of its changes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from .contents import StoredFamily, split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

EMPTIED = ("", "emptied")
"""Stands for a PUT of nothing among the names and fingerprints of families."""


class StoredChange(NamedTuple):
    """A PUT, POST or DELETE that began ``at``, in Unix seconds. A DELETE has no families."""

    method: str
    families: Mapping[str, StoredFamily]
    at: float

    @property
    def is_heartbeat(self) -> bool:
        """A POST of nothing, which is of no use later."""
        return self.method == "POST" and not self.families


class Entry(NamedTuple):
    """A PUT or DELETE that began ``base_at``, if any, and families pushed then or later."""

    base: str | None = None
    base_at: float = 0.0
    families: Mapping[str, StoredFamily] = MappingProxyType({})

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.base is None and not self.families

    @property
    def method(self) -> str:
        """The request that delivers it."""
        if self.base is None:
            return "POST"
        return "PUT" if self.families else self.base

    def changes(self) -> Iterator[StoredChange]:
        """The changes of which it is made, in their order."""
        by_time: dict[float, dict[str, StoredFamily]] = {}
        for name, stored in self.families.items():
            by_time.setdefault(stored.at, {})[name] = stored
        if self.base is not None:
            yield StoredChange(self.base, by_time.pop(self.base_at, {}), self.base_at)
        for at in sorted(by_time):
            yield StoredChange("POST", by_time[at], at)


def change_of(method: str, body: bytes, at: float, grouping: Collection[str]) -> StoredChange:
    """The change that a request makes. ``grouping`` has the names of the grouping labels.

    Raises InvalidPayloadError for a body that a gateway would refuse.
    """
    return StoredChange(method, {} if method == "DELETE" else split(body, at, grouping), at)


def merged(entry: Entry, change: StoredChange, now: float) -> Entry:
    """``entry`` after ``change``. ``now`` is the time, in Unix seconds.

    A time in the future comes from a clock that was set back since: it counts as older.
    """
    at = min(change.at, now)
    entry = _without_future(entry, at, now)
    if entry.base_at > at:
        return entry
    new = {name: stored._replace(at=at) for name, stored in change.families.items()}
    later = {name: stored for name, stored in entry.families.items() if stored.at > at}
    if change.method != "POST":
        return Entry(change.method, at, {**new, **later})
    later = {name: stored for name, stored in later.items() if name in new}
    return entry._replace(families={**entry.families, **new, **later})


def without(entry: Entry, change: StoredChange, now: float) -> Entry:
    """What still waits once the gateway has taken ``change``, which was not part of ``entry``.

    A POST on top of a PUT or DELETE that still waits becomes part of it: that would undo the POST.
    """
    entry, at = merged(entry, change, now), min(change.at, now)
    if change.method == "POST" and entry.base is not None:
        return entry
    left = {name: stored for name, stored in entry.families.items() if stored.at != at}
    return Entry(families=left) if entry.base_at == at else entry._replace(families=left)


def fingerprints(
    method: str | None, families: Mapping[str, StoredFamily]
) -> Iterator[tuple[str, str]]:
    """Names and fingerprints of a request's families."""
    if method == "PUT" and not families:
        yield EMPTIED
    for name, stored in families.items():
        yield name, stored.fingerprint


def _without_future(entry: Entry, at: float, now: float) -> Entry:
    if entry.base_at <= now and all(stored.at <= now for stored in entry.families.values()):
        return entry
    families = {
        name: stored._replace(at=at) if stored.at > now else stored
        for name, stored in entry.families.items()
    }
    return Entry(entry.base, at if entry.base_at > now else entry.base_at, families)
