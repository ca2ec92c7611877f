"""What waits for one group, and how a further push alters it. Pure.

Pushes commute: a PUT, POST or DELETE that began later wins, in whatever order they are stored. So
an entry is bounded by its families and not by the number of its pushes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from .contents import StoredFamily, split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

EMPTIED = ("", "emptied")
"""Stands for a PUT of nothing among the names and fingerprints of families."""


class Entry(NamedTuple):
    """One push to a group, or several.

    That is a PUT or DELETE that began ``base_at``, in Unix seconds, if there is any, and families
    that were pushed then or later.
    """

    base: str | None = None
    base_at: float = 0.0
    families: Mapping[str, StoredFamily] = MappingProxyType({})

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits. A POST of nothing, a heartbeat, is of no use later."""
        return self.base is None and not self.families

    @property
    def method(self) -> str:
        """The request that delivers it."""
        if self.base is None:
            return "POST"
        return "PUT" if self.families else self.base

    def pushes(self) -> Iterator[Entry]:
        """The pushes of which it is made, in their order."""
        by_time: dict[float, dict[str, StoredFamily]] = {}
        for name, stored in self.families.items():
            by_time.setdefault(stored.at, {})[name] = stored
        if self.base is not None:
            yield Entry(self.base, self.base_at, by_time.pop(self.base_at, {}))
        for at in sorted(by_time):
            yield Entry(families=by_time[at])

    def fingerprints(self) -> Iterator[tuple[str, str]]:
        """Names and fingerprints of its families."""
        if self.base == "PUT" and not self.families:
            yield EMPTIED
        for name, stored in self.families.items():
            yield name, stored.fingerprint


def entry_of(method: str, body: bytes, at: float, grouping: Collection[str]) -> Entry:
    """The push of ``body``, which began ``at``. ``grouping`` has the names of the grouping labels.

    Raises InvalidPayloadError for a body that a gateway would refuse.
    """
    if method == "DELETE":
        return Entry(method, at)
    families = split(body, at, grouping)
    return Entry(families=families) if method == "POST" else Entry(method, at, families)


def merged(first: Entry, second: Entry, now: float) -> Entry:
    """What waits of both; ``second`` wins where they began at once. ``now`` is the time.

    A time in the future comes from a clock that was set back since: it counts as older.
    """
    second = _without_future(second, now, now)
    times = [stored.at for stored in second.families.values()]
    times += [second.base_at] if second.base is not None else []
    first = _without_future(first, min(times, default=now), now)
    is_replaced = second.base is not None and second.base_at >= first.base_at
    base, base_at, _ = second if is_replaced else first
    old = {n: s for n, s in first.families.items() if not is_replaced or s.at > base_at}
    new = {n: s for n, s in second.families.items() if s.at >= base_at}
    later = {n: s for n, s in old.items() if n in new and s.at > new[n].at}
    return Entry(base, base_at, {**old, **new, **later})


def without(entry: Entry, push: Entry, now: float) -> Entry:
    """What still waits once the gateway has taken ``push``, which was not part of ``entry``.

    A POST on top of a PUT or DELETE that still waits becomes part of it: that would undo the POST.
    """
    push = _without_future(push, now, now)
    entry = merged(entry, push, now)
    if push.base is None and entry.base is not None:
        return entry
    left = {name: s for name, s in entry.families.items() if s != push.families.get(name)}
    is_done = entry.base_at == push.base_at
    return Entry(families=left) if is_done else entry._replace(families=left)


def _without_future(entry: Entry, at: float, now: float) -> Entry:
    """``entry`` with ``at`` in place of times after ``now``."""
    if entry.base_at <= now and all(stored.at <= now for stored in entry.families.values()):
        return entry
    families = {
        name: stored._replace(at=at) if stored.at > now else stored
        for name, stored in entry.families.items()
    }
    return Entry(entry.base, at if entry.base_at > now else entry.base_at, families)
