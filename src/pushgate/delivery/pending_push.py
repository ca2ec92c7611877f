"""What waits for one group, put together to one request. Pure but for collectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.families import families_of
from ..protocol.text import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocol.families import FamilyLike, Metrics
    from ..protocol.grouping_key import GroupingKey


class PendingPush(NamedTuple):
    """One request. ``method`` is PUT, POST or DELETE.

    A PUT or POST carries what ``collected`` yields when it is sent, and ``families``, which replace
    those of the same names. ``at`` is when the request became necessary, but for ``families``,
    which have their times in ``times``; all in Unix seconds.
    """

    method: str
    collected: Metrics = ()
    families: Mapping[str, FamilyLike] = {}
    at: float = 0.0
    times: Mapping[str, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the request carries nothing."""
        return self.collected == () and not self.families

    def body(self, key: GroupingKey, *, utf8_names: bool = False) -> bytes:
        """The request's body. Raises InvalidPayloadError, and what a collector raises."""
        families = (*self._below(), *self.families.values()) if self.families else self.collected
        return encode(families, key, utf8_names=utf8_names).text

    def changes(
        self, key: GroupingKey, collected_at: float, *, utf8_names: bool = False
    ) -> Iterator[tuple[str, GroupingKey, bytes, float]]:
        """The request for an outbox, taken apart by the times of what it carries.

        What a collector yields is as new as ``collected_at``, in Unix seconds. Raises as `body`.
        """
        if self.method != "POST" or self.collected != ():
            is_live = hasattr(self.collected, "collect") and not self.families
            text = encode(tuple(self._below()), key, utf8_names=utf8_names).text
            yield self.method, key, text, collected_at if is_live else self.at
        for time in sorted(set(self.times.values())):
            of_then = [f for name, f in self.families.items() if self.times[name] == time]
            yield "POST", key, encode(of_then, key, utf8_names=utf8_names).text, time

    def _below(self) -> Iterator[FamilyLike]:
        return (f for f in families_of(self.collected) if f.name not in self.families)


def pending_push(method: str, metrics: Metrics, at: float) -> PendingPush:
    """One change of a group, made ``at`` Unix seconds. Raises ValueError for another method."""
    if method == "DELETE":
        return PendingPush("DELETE", at=at)
    if method == "PUT":
        # It may be sent twice, and an iterator would be empty the second time.
        whole = tuple(metrics) if isinstance(metrics, Iterator) else metrics
        return PendingPush("PUT", whole, at=at)
    if method != "POST":
        raise ValueError(f"the method is {method!r}; a change is a PUT, a POST or a DELETE")
    if hasattr(metrics, "collect"):
        return PendingPush("POST", metrics, at=at)
    families = _by_name(metrics)
    return PendingPush("POST", families=families, at=at, times=dict.fromkeys(families, at))


def combine(first: PendingPush, second: PendingPush) -> PendingPush:
    """One request that leaves the group as ``first`` and then ``second`` would.

    Collects, and raises what that raises, where each of the two has another collector.
    """
    if second.method != "POST":
        return second
    # A POST to a group that was just deleted leaves nothing else in it: that is a PUT.
    method = "POST" if first.method == "POST" else "PUT"
    if first.is_empty and second.collected == ():
        return second._replace(method=method, at=first.at)
    is_same = second.collected is first.collected and not first.families
    if first.is_empty or is_same:
        return second._replace(method=method)
    collected = _by_name(second.collected)
    return PendingPush(
        method,
        first.collected,
        {**first.families, **collected, **second.families},
        first.at,
        {**first.times, **dict.fromkeys(collected, second.at), **second.times},
    )


def _by_name(metrics: Metrics) -> dict[str, FamilyLike]:
    return {family.name: family for family in families_of(metrics)}
