"""Work that waits to be delivered, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from .report import Report


class WaitingWork(NamedTuple):
    """Work of ``weight`` reports, in the order of ``number``; ``was_tried`` in vain before."""

    make: Callable[[], Iterable[Report]]
    weight: int
    number: int
    was_tried: bool = False


class Undelivered(NamedTuple):
    """The slots that could not be delivered, to be tried again in ``pause`` seconds.

    ``gateway_is_away``: until then nothing else is tried.
    """

    slots: Collection[Hashable] = ()
    pause: float = 0.0
    gateway_is_away: bool = False
