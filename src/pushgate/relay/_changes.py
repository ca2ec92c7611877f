"""What a relay's adapter writes: an aggregator, and the changes of groups that it asks for.

Enters: nothing. Leaves: the value :class:`Change`, and the protocol :class:`Aggregator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.families import Metrics
    from ..protocol.grouping_key import GroupingKey
    from ..protocol.groups import Group

__all__ = ("Aggregator", "Change", "Method")

Method = Literal["PUT", "POST", "DELETE"]


class Change(NamedTuple):
    """What is to become of one group at the gateway.

    ``method`` says what ``metrics`` do. PUT: they replace the group. POST: they replace the
    families of the same names; what is not pushed yet is merged by family name, the newer one wins.
    DELETE: there are none.

    An object with ``collect()`` is collected when it is pushed, not before, so that one change
    stands for all that it counts until then: one value for each group, made once and returned for
    each record, costs nearly nothing.

    ``not_before`` is for a DELETE, the Unix time before which it is not sent: pushes that wait go
    first. The last change decides: any later PUT or POST of the group revokes a DELETE that still
    waits for its time, so give it again with each push. An aggregator that reviews is given a
    review between that time and the DELETE, and may give the DELETE again with a later time.
    """

    method: Method
    key: GroupingKey
    metrics: Metrics = ()
    not_before: float | None = None


class Aggregator(Protocol):
    """Makes changes out of records. Called by one thread at a time; what it raises is logged once.

    A relay gets it from a factory, ``factory(options)``. ``now`` is in Unix seconds.
    """

    review_interval: float | None
    """Seconds between two reviews, the first of which is at the start; None is for no review."""

    def feed(self, record: Any, now: float) -> Iterable[Change]:
        """A record as it was written; its tuples may have become lists."""

    def dropped(self, count: int) -> Iterable[Change]:
        """So many records were lost since the last call, because the writers could not write."""

    def closed(self, now: float) -> Iterable[Change]:
        """Every writer is gone, and with them the relay: what waits is pushed a last time."""

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> None:
        """A push of this group has ended: in time for the metrics of the adapter's own health."""

    def review(self, groups: Iterable[Group], now: float) -> Iterable[Change]:
        """What the gateway holds, to be gone through once."""
