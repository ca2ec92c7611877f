"""Counters, histograms and gauges of a bounded number of label sets.

A label set that would exceed the budget is counted under label values of ``other`` instead, so
memory and payload are bounded, and sums stay right.

They stand in for prometheus_client's types, which would cost the pusher 11 MB for the import and
4 KB for each label set of a histogram, and which write files into the user's directory wherever
PROMETHEUS_MULTIPROC_DIR is set:
https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from pushgate import Family, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OTHER = "other"
_MAX_VALUE = 120  # characters; task and exception names are far shorter
_MAX_CROWD = 20  # exceptions of one task

Labels = tuple[str, ...]
Cell = list[float]


class Budget:
    """How many label sets there may be. A part of another budget draws on both.

    ``on_overflow`` is called for each update that found no room.
    """

    def __init__(
        self, limit: int, on_overflow: Callable[[], None], *, within: Budget | None = None
    ) -> None:
        self.limit = limit
        self.used = 0
        self.overflow = on_overflow
        self._within = within

    def take(self) -> bool:
        """Take room for one label set, if there is any."""
        if self.used >= self.limit or not (self._within is None or self._within.take()):
            return False
        self.used += 1
        return True


def clean(value: object) -> str:
    """A label value that a gateway takes: short, and Unicode without lone surrogates."""
    return str(value)[:_MAX_VALUE].encode("utf-8", "replace").decode()


class _Series:
    """One metric's cells of ``width`` numbers by label values, in the order of ``labels``.

    ``closed`` are labels of few values, which stay when the others become ``other``. ``crowded``
    is a label that may have so many values that it gets a bound of its own for each set of the
    others.
    """

    type: str

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Labels,
        budget: Budget,
        *,
        width: int = 1,
        closed: Labels = (),
        crowded: str | None = None,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = labels
        self._budget = budget
        self._width = width
        self._closed = closed
        self._crowded = labels.index(crowded) if crowded else None
        self._crowds: dict[Labels, int] = {}
        self._cells: dict[Labels, Cell] = {}

    def collect(self) -> Iterator[Family]:
        """The family, if it has any sample."""
        if self._cells:
            yield self.family()

    def family(self) -> Family:
        """The family as it is now."""
        samples: list[Sample] = []
        for values, cell in self._cells.items():
            samples += self._samples(dict(zip(self.labels, values, strict=True)), cell)
        return Family(self.name, self.documentation, self.type, samples)

    def _samples(self, labels: dict[str, str], cell: Cell) -> Iterable[Sample]:
        return (Sample(self.name, labels, cell[0]),)

    def _cell(self, values: Labels) -> Cell:
        """The cell for label values that are new, or not as they should be."""
        values = tuple(map(clean, values))
        if values in self._cells:
            return self._cells[values]
        values = self._thinned(values)
        if values not in self._cells and not self._budget.take():
            self._budget.overflow()
            values = tuple(
                value if label in self._closed or not value else OTHER
                for label, value in zip(self.labels, values, strict=True)
            )
        return self._cells.setdefault(values, [0.0] * self._width)

    def _thinned(self, values: Labels) -> Labels:
        at = self._crowded
        if at is None or not values[at]:
            return values
        rest = values[:at] + values[at + 1 :]
        if self._crowds.get(rest, 0) >= _MAX_CROWD:
            self._budget.overflow()
            return (*values[:at], OTHER, *values[at + 1 :])
        if self._budget.used < self._budget.limit:
            self._crowds[rest] = self._crowds.get(rest, 0) + 1
        return values


class Counter(_Series):
    """A counter. Its name has no ``_total``; the samples' does."""

    type = "counter"

    def add(self, values: Labels, amount: float = 1.0) -> None:
        """Add ``amount`` to the series of these label values; 0 makes it exist."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cell(values)
        cell[0] += amount

    def expect(self, values: Labels) -> None:
        """Make a series that the worker's code will have, at 0; it takes no room of the budget."""
        self._cells.setdefault(tuple(map(clean, values)), [0.0])

    def _samples(self, labels: dict[str, str], cell: Cell) -> Iterable[Sample]:
        return (Sample(f"{self.name}_total", labels, cell[0]),)


class Gauge(_Series):
    """A gauge. What finds no room is left out: one value can't stand for many."""

    type = "gauge"

    def set(self, values: Labels, value: float) -> None:
        """Set the series of these label values."""
        if values not in self._cells:
            values = tuple(map(clean, values))
            if values not in self._cells and not self._budget.take():
                self._budget.overflow()
                return
        self._cells[values] = [float(value)]


class Histogram(_Series):
    """A histogram of these upper bounds, rising and finite; a cell ends with overflow and sum."""

    type = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Labels,
        budget: Budget,
        *,
        buckets: tuple[float, ...],
    ) -> None:
        super().__init__(name, documentation, labels, budget, width=len(buckets) + 2)
        self._buckets = buckets
        self._bounds = (*map(repr, buckets), "+Inf")

    def observe(self, values: Labels, value: float) -> None:
        """Put ``value``, a finite number, into the series of these label values."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cell(values)
        cell[bisect_left(self._buckets, value)] += 1.0
        cell[-1] += value

    def _samples(self, labels: dict[str, str], cell: Cell) -> Iterable[Sample]:
        counts = list(accumulate(cell[:-1]))
        for bound, count in zip(self._bounds, counts, strict=True):
            yield Sample(f"{self.name}_bucket", {**labels, "le": bound}, count)
        yield Sample(f"{self.name}_count", labels, counts[-1])
        yield Sample(f"{self.name}_sum", labels, cell[-1])
