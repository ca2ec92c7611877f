"""What waits to be sent to each group, with everything that can be put together in one request.

Enters: changes, in the order in which they happened; a request that failed, to be put back under
what came since. Leaves: for each group at most one request and the time of its deletion; or what
that was put together from, with the times, for an outbox. Pure; what it holds is bounded by the
groups and their families, however long nothing can be sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..protocol.families import families_of
from ..protocol.text import encode
from ._changes import Change, Method

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from ..protocol.families import FamilyLike, Metrics
    from ..protocol.grouping_key import GroupingKey

    KeptChange: TypeAlias = tuple[Method, GroupingKey, bytes, float]

__all__ = ("KeptChange", "Pending", "Waiting", "combine", "waiting_of")


class Waiting(NamedTuple):
    """What is to happen to one group: a request, if ``method`` isn't empty, and a later DELETE.

    A PUT or POST carries what ``collected`` holds when it is sent, under ``families``, of which
    those of the same names win. ``delete_at`` is on the caller's clock. ``made_at`` is when the
    change was made, but for ``families``, which ``times`` has by name; both in Unix seconds. A
    DELETE whose time has come was made at no time.
    """

    method: Method | Literal[""]
    collected: Metrics = ()
    families: Mapping[str, FamilyLike] = {}
    delete_at: float | None = None
    made_at: float | None = None
    times: Mapping[str, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the request carries nothing."""
        return self.collected == () and not self.families

    def payload(self, key: GroupingKey) -> bytes:
        """The request's body. Raises InvalidPayloadError, and whatever collecting raises."""
        if not self.families:
            return encode(self.collected, key).text
        return encode((*self._below(), *self.families.values()), key).text

    def changes(self, key: GroupingKey, latest: float) -> Iterator[KeptChange]:
        """The request, taken apart by the times at which it was made, the base first.

        A collector's metrics are as old as ``latest``, in Unix seconds. Raises as ``payload`` does.
        A DELETE whose time has come is left out: who comes later could not tell whether the group
        was renewed since it was asked for.
        """
        method, at = self.method, self.made_at
        if method and at is not None and (method != "POST" or self.collected != ()):
            if hasattr(self.collected, "collect") and not self.families:
                at = latest
            yield method, key, encode(tuple(self._below()), key).text, at
        for time in sorted(set(self.times.values())):
            made_then = [f for name, f in self.families.items() if self.times[name] == time]
            yield "POST", key, encode(made_then, key).text, time

    def _below(self) -> Iterator[FamilyLike]:
        return (f for f in families_of(self.collected) if f.name not in self.families)


def waiting_of(change: Change, delete_at: float | None = None, made_at: float = 0.0) -> Waiting:
    """One change alone. ``delete_at`` is its ``not_before`` on the caller's clock, if not over.

    ``made_at`` is in Unix seconds.
    """
    method, metrics = change.method, change.metrics
    if method == "POST":
        if hasattr(metrics, "collect"):
            return Waiting("POST", metrics, made_at=made_at)
        families = _by_name(metrics)
        times = dict.fromkeys(families, made_at)
        return Waiting("POST", families=families, made_at=made_at, times=times)
    if method == "PUT":
        # It may be sent more than once, and must not be empty the second time.
        whole = tuple(metrics) if isinstance(metrics, Iterator) else metrics
        return Waiting("PUT", whole, made_at=made_at)
    if method == "DELETE":
        if delete_at is None:
            return Waiting("DELETE", made_at=made_at)
        return Waiting("", delete_at=delete_at)
    raise ValueError(f"the method is {method!r}; a change is a PUT, a POST or a DELETE")


def combine(first: Waiting, second: Waiting) -> Waiting:
    """What leaves the group as ``first`` and then ``second`` would, in one request.

    Collects, and raises what that raises, where there are two collectors for one request.
    """
    if not second.method:
        return first if second.delete_at is None else first._replace(delete_at=second.delete_at)
    if second.method != "POST" or not first.method:
        return second
    # A POST to a group that was just deleted leaves nothing else in it: that is a PUT.
    method: Method = "POST" if first.method == "POST" else "PUT"
    if first.is_empty and second.collected == () and first.made_at is not None:
        return second._replace(method=method, made_at=first.made_at)
    is_same = second.collected is first.collected and not first.families
    if first.is_empty or is_same:
        return second._replace(method=method)
    collected = _by_name(second.collected)
    return Waiting(
        method,
        first.collected,
        {**first.families, **collected, **second.families},
        second.delete_at,
        first.made_at,
        {**first.times, **dict.fromkeys(collected, second.made_at or 0.0), **second.times},
    )


def _by_name(metrics: Metrics) -> dict[str, FamilyLike]:
    return {family.name: family for family in families_of(metrics)}


class Pending:
    """What waits, by group."""

    def __init__(self) -> None:
        self._waiting: dict[GroupingKey, Waiting] = {}

    def __iter__(self) -> Iterator[GroupingKey]:
        """The groups that a request waits for."""
        return (key for key, waiting in self._waiting.items() if waiting.method)

    def add(self, change: Change, delete_at: float | None = None, made_at: float = 0.0) -> bool:
        """Add what happened last: whether now a request waits, or a DELETE, and none did before.

        ``delete_at`` and ``made_at`` are as in ``waiting_of``. Raises what collecting raises, and
        ValueError.
        """
        key, metrics = change.key, change.metrics
        before = self._waiting.get(key)
        if (
            before is not None
            and before.collected is metrics
            and before.method == change.method != "DELETE"
            and not before.families
            and before.delete_at is None
            and hasattr(metrics, "collect")
        ):
            return (
                False  # that will be collected anyway: what nearly all changes of a busy group do
            )
        waiting = waiting_of(change, delete_at, made_at)
        self._waiting[key] = waiting if before is None else combine(before, waiting)
        return before is None or not before.method or not waiting.method

    def take(self, key: GroupingKey, due_until: float) -> Waiting | None:
        """Take the group's request out, if there is one; a DELETE if its time has come."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        if waiting.delete_at is not None:
            if waiting.delete_at <= due_until:
                return Waiting("DELETE")
            self._waiting[key] = Waiting("", delete_at=waiting.delete_at)
        return waiting._replace(delete_at=None) if waiting.method else None

    def put_back(self, key: GroupingKey, taken: Waiting) -> None:
        """What was taken and not delivered goes under what has happened since.

        Raises what collecting raises, and keeps only what has happened since then.
        """
        self._waiting[key] = self.with_taken(key, taken)

    def with_taken(self, key: GroupingKey, taken: Waiting | None) -> Waiting:
        """What would wait for the group if ``taken`` were put back. Raises as that does."""
        since = self._waiting.get(key, Waiting(""))
        return since if taken is None else combine(taken, since)

    def delete_at(self, key: GroupingKey) -> float | None:
        """When the group is to be deleted."""
        waiting = self._waiting.get(key)
        return waiting and waiting.delete_at
