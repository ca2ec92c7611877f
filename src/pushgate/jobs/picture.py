"""What a gateway holds of the jobs at one moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.timestamps import METRIC_PREFIX
from .matchers import matches
from .status import JobRow, job_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from .matchers import Matcher


class Picture(NamedTuple):
    """``now`` is the time by the gateway's clock, in Unix seconds.

    ``groups`` counts the gateway's groups, whatever they hold; ``refused`` those that match, have
    no row, and whose last push the gateway refused.
    """

    rows: list[JobRow]
    now: float
    groups: int
    refused: int


def read_picture(gateway: Gateway, matchers: Sequence[Matcher]) -> Picture:
    """The jobs that fulfil all matchers. Raises PushError."""
    now = time.time() + gateway.clock_offset()
    total = 0
    refused: list[Mapping[str, str]] = []

    def found() -> Iterator[Group]:  # one after the other: a gateway may hold 15,000
        nonlocal total
        for group in gateway.iter_groups():
            total += 1
            if matches(group.labels, matchers):
                if not group.last_push_successful:
                    refused.append(group.labels)
                yield group.only(METRIC_PREFIX)

    rows = job_rows(found(), now=now)
    shown = {id(row.labels) for row in rows}
    return Picture(rows, now, total, sum(id(labels) not in shown for labels in refused))
