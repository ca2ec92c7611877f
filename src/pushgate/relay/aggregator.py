"""What a relay's adapter writes: an aggregator, which turns records into changes of groups."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.families import Metrics
    from ..protocol.grouping_key import GroupingKey


class Change(NamedTuple):
    """What is to become of one group at the gateway.

    ``method`` says what ``metrics`` do. PUT: they replace the group. POST: they replace the
    families of the same names; what is not pushed yet is merged by family name, the newer one wins.
    DELETE: there are none.

    An object with ``collect()`` is collected when it is pushed, not before, so that one change
    stands for all that it counts until then: one value for each group, made once and returned for
    each record, costs nearly nothing.

    ``pace`` is for fleets with many groups. A slow group is pushed after the others and in an
    interval of its own, which the pusher stretches where pushes take long; "now" is for a change of
    such a group that can't wait so long. All changes of one group are slow or now, or none is.
    """

    method: Literal["PUT", "POST", "DELETE"]
    key: GroupingKey
    metrics: Metrics = ()
    pace: Literal["normal", "slow", "now"] = "normal"


class Aggregator(Protocol):
    """Makes changes out of records. Called by one thread at a time; what it raises is logged once.

    A relay gets it from a factory, ``factory(options)``. ``now`` is in Unix seconds.
    """

    def feed(self, record: Any, now: float) -> Iterable[Change]:
        """A record as it was written; its tuples may have become lists."""

    def dropped(self, count: int) -> Iterable[Change]:
        """So many records were lost since the last call, because the writers could not write."""

    def abandoned(self, now: float) -> Iterable[Change]:
        """The process that started the relay is gone without a word; its children may go on."""

    def closed(self, now: float) -> Iterable[Change]:
        """The relay was closed, or every writer is gone: what waits is pushed a last time."""

    def delivery(self, key: GroupingKey, error: Exception | None, now: float) -> Iterable[Change]:
        """A push of this group has ended: in time for the metrics of the adapter's own health."""


def options_text(options: Mapping[str, object]) -> str:
    """The options as JSON. Raises TypeError or ValueError for what JSON can't hold."""
    return json.dumps(dict(options))


def load_aggregator(name: str, options: str) -> Aggregator:
    """Call the factory ``package.module:factory`` with the options that ``options_text`` wrote.

    Raises ValueError for another name, and what importing and the factory raise.
    """
    module, colon, factory = name.partition(":")
    if not colon:
        raise ValueError(f"the aggregator is {name!r}; give package.module:factory")
    aggregator: Aggregator = getattr(import_module(module), factory)(json.loads(options))
    return aggregator
