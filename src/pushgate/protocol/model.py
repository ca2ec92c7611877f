"""Metric families as a Pushgateway holds them, made by parse and read by store and render."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

# The type names of the protobuf model, which the JSON API shows; the text format has them in lower
# case. A family without a TYPE line is UNTYPED.
COUNTER, GAUGE, SUMMARY, UNTYPED = "COUNTER", "GAUGE", "SUMMARY", "UNTYPED"
HISTOGRAM, GAUGE_HISTOGRAM = "HISTOGRAM", "GAUGE_HISTOGRAM"
HISTOGRAMS = (HISTOGRAM, GAUGE_HISTOGRAM)

Labels = tuple[tuple[str, str], ...]  # sorted


@dataclass
class Metric:
    """One labelled child of a family; which numbers count depends on the family's type."""

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
class Family:
    name: str
    type: str | None = None  # None only while parsing, before TYPE or the first sample
    help: str | None = None
    metrics: list[Metric] = field(default_factory=list)


def format_number(number: float) -> str:
    """As Go's strconv.FormatFloat(number, 'g', -1, 64); an int is a count and stays whole."""
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0 or 1e-4 <= abs(number) < 1e6:
        return repr(number).removesuffix(".0")
    # Python's repr has the same shortest digits, but another limit for the exponent's notation.
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) + len(whole) - 1 - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    point = "." if len(digits) > 1 else ""
    return f"{'-' if number < 0 else ''}{digits[0]}{point}{digits[1:]}e{power:+03d}"
