"""The rule for headers that a user adds to every request. Enters: their names. Leaves: nothing, or
a ValueError."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("refuse_headers_of_the_request",)

# They say how a body ends, what it is packed in, or where it goes: a second one breaks the push.
_OF_THE_REQUEST = (
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "transfer-encoding",
)


def refuse_headers_of_the_request(names: Iterable[str]) -> None:
    """Raise ValueError for a header that each request sets itself."""
    for name in names:
        if name.lower() in _OF_THE_REQUEST:
            advice = "set the compression" if "encoding" in name.lower() else "leave it out"
            raise ValueError(f"the header {name!r} is one that each request sets itself; {advice}")
