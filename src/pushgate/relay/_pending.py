"""What waits to be sent to each group, with everything that can be put together in one request.

Enters: changes, in the order in which they happened; a request that failed, to be put back under
what came since. Leaves: for each group at most one request and the time of its deletion. Pure; what
it holds is bounded by the groups and their families, however long nothing can be sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..exposition import encode, families_of
from ._changes import Change, Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..families import FamilyLike, Metrics
    from ..grouping import GroupingKey

__all__ = ("Pending", "Waiting", "combine", "waiting_of")


class Waiting(NamedTuple):
    """What is to happen to one group: a request, if ``method`` isn't empty, and a later DELETE.

    A PUT or POST carries what ``collected`` holds when it is sent, under ``families``, of which
    those of the same names win. ``delete_at`` is on the caller's clock.
    """

    method: Method | Literal[""]
    collected: Metrics = ()
    families: Mapping[str, FamilyLike] = {}
    delete_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the request carries nothing."""
        return self.collected == () and not self.families

    def payload(self, key: GroupingKey) -> bytes:
        """The request's body. Raises InvalidPayloadError, and whatever collecting raises."""
        if not self.families:
            return encode(self.collected, key).text
        below = (f for f in families_of(self.collected) if f.name not in self.families)
        return encode((*below, *self.families.values()), key).text


def waiting_of(change: Change, delete_at: float | None = None) -> Waiting:
    """One change alone. ``delete_at`` is its ``not_before`` on the caller's clock, if not over."""
    method, metrics = change.method, change.metrics
    if method == "POST":
        if hasattr(metrics, "collect"):
            return Waiting("POST", metrics)
        return Waiting("POST", families=_by_name(metrics))
    if method == "PUT":
        # It may be sent more than once, and must not be empty the second time.
        return Waiting("PUT", tuple(metrics) if isinstance(metrics, Iterator) else metrics)
    if method == "DELETE":
        return Waiting("DELETE") if delete_at is None else Waiting("", delete_at=delete_at)
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
    is_same = second.collected is first.collected and not first.families
    if first.is_empty or is_same:
        return second._replace(method=method)
    families = {**first.families, **_by_name(second.collected), **second.families}
    return Waiting(method, first.collected, families, second.delete_at)


def _by_name(metrics: Metrics) -> dict[str, FamilyLike]:
    return {family.name: family for family in families_of(metrics)}


class Pending:
    """What waits, by group."""

    def __init__(self) -> None:
        self._waiting: dict[GroupingKey, Waiting] = {}

    def __iter__(self) -> Iterator[GroupingKey]:
        """The groups that a request waits for."""
        return (key for key, waiting in self._waiting.items() if waiting.method)

    def add(self, change: Change, delete_at: float | None = None) -> bool:
        """Add what happened last: whether now a request waits, or a DELETE, and none did before.

        ``delete_at`` is as in ``waiting_of``. Raises what collecting raises, and ValueError.
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
        waiting = waiting_of(change, delete_at)
        self._waiting[key] = waiting if before is None else combine(before, waiting)
        return before is None or not before.method or not waiting.method

    def take(self, key: GroupingKey, now: float) -> Waiting | None:
        """Take the group's request out, if there is one; a DELETE if its time has come."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return None
        if waiting.delete_at is not None:
            if waiting.delete_at <= now:
                return Waiting("DELETE")
            self._waiting[key] = Waiting("", delete_at=waiting.delete_at)
        return waiting._replace(delete_at=None) if waiting.method else None

    def put_back(self, key: GroupingKey, taken: Waiting) -> None:
        """What was taken and not delivered goes under what has happened since.

        Raises what collecting raises, and keeps only what has happened since then.
        """
        since = self._waiting.get(key)
        self._waiting[key] = taken if since is None else combine(taken, since)

    def delete_at(self, key: GroupingKey) -> float | None:
        """When the group is to be deleted."""
        waiting = self._waiting.get(key)
        return waiting and waiting.delete_at
