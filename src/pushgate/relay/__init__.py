"""Records from many processes to one pusher process, which aggregates and pushes them, coalesced.

Enters: records, written to a pipe in microseconds. Leaves: at most one push of each group in an
interval. The way: `Relay.write` → a frame on the pipe → the adapter's `Aggregator` in the pusher →
`Change`s, put together by group → requests, when it is their turn.
"""

from pushgate.relay._changes import Aggregator, Change
from pushgate.relay._inline import InlineRelay
from pushgate.relay._relay import Relay

__all__ = ["Aggregator", "Change", "InlineRelay", "Relay"]
