"""Metric families as a Pushgateway holds them and its API shows them: labels, points, sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..protocol.families import Sample
from ..protocol.parse import TextFamily

# The type names of the protobuf model, which the JSON API shows; the text format has them in lower
# case. A family without a TYPE line is UNTYPED.
COUNTER, GAUGE, SUMMARY, UNTYPED = "COUNTER", "GAUGE", "SUMMARY", "UNTYPED"
HISTOGRAM, GAUGE_HISTOGRAM = "HISTOGRAM", "GAUGE_HISTOGRAM"
HISTOGRAMS = (HISTOGRAM, GAUGE_HISTOGRAM)

Labels = tuple[tuple[str, str], ...]  # sorted


@dataclass
class HeldMetric:
    """One labelled child of a family. The family's type decides which numbers have a meaning."""

    labels: dict[str, str]
    value: float = 0.0
    # (le, cumulative count) of a histogram, (quantile, value) of a summary, in the pushed order
    points: list[tuple[float, float]] = field(default_factory=list)
    sum: float = 0.0
    count: float = 0
    has_timestamp: bool = False

    def key(self) -> Labels:
        return tuple(sorted(self.labels.items()))


@dataclass
class HeldFamily:
    """A family of a group. ``pushed_at`` is in Unix seconds by the gateway's clock."""

    name: str
    type: str
    help: str | None = None
    metrics: list[HeldMetric] = field(default_factory=list)
    pushed_at: float = 0.0


_TYPES = {name.lower(): name for name in (COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM)} | {
    "gaugehistogram": GAUGE_HISTOGRAM
}


def held_families(families: Mapping[str, TextFamily]) -> dict[str, HeldFamily]:
    """The families of a pushed text, as the gateway keeps them."""
    return {name: _held(family) for name, family in families.items()}


def _held(parsed: TextFamily) -> HeldFamily:
    family = HeldFamily(parsed.name, _TYPES[parsed.type], parsed.documentation)
    if family.type not in (SUMMARY, *HISTOGRAMS):
        for _, labels, value, timestamp in parsed.samples:
            family.metrics.append(
                HeldMetric(dict(labels), value, has_timestamp=timestamp is not None)
            )
        return family
    children: dict[Labels, HeldMetric] = {}
    bound = "quantile" if family.type == SUMMARY else "le"
    for sample in parsed.samples:
        metric = HeldMetric({n: text for n, text in sample.labels.items() if n != bound})
        metric = children.setdefault(metric.key(), metric)
        _add_to(metric, family, sample, sample.labels.get(bound))
    family.metrics += children.values()
    return family


def _add_to(metric: HeldMetric, family: HeldFamily, sample: Sample, bound: str | None) -> None:
    metric.has_timestamp |= sample.timestamp is not None
    if sample.name == f"{family.name}_count":
        metric.count = _count(family, sample.value)
    elif sample.name == f"{family.name}_sum":
        metric.sum = sample.value
    elif bound is not None and not math.isnan(float(bound)):
        is_summary = family.type == SUMMARY
        value = sample.value if is_summary else _count(family, sample.value)
        metric.points.append((float(bound), value))


def _count(family: HeldFamily, value: float) -> float:
    """A count as the protobuf model keeps it: whole where it can be."""
    if family.type == SUMMARY:
        # Go's conversion to uint64 on amd64; there is no float to fall back on.
        if math.isnan(value) or not -(2.0**63) <= value < 2.0**64:
            return 2**63
        return int(value) % 2**64
    return int(value) if value < 2.0**64 and value.is_integer() else value


def format_number(number: float) -> str:
    """As Go's strconv.FormatFloat(number, 'g', -1, 64). An int is a count and stays whole."""
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0 or 1e-4 <= abs(number) < 1e6:
        return repr(number).removesuffix(".0")
    # Python's repr has the same shortest digits, but another limit for the exponent's notation.
    mantissa, _, exponent = f"{Decimal(repr(number)).normalize():e}".partition("e")
    return f"{mantissa}e{int(exponent):+03d}"
