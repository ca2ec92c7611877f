"""The rules that a native histogram must meet.

A Pushgateway takes any. One that is not sound then breaks things for all users (seen on 1.11.2 and
Prometheus 2.42): spans without buckets make the gateway's API panic, they and counts below 0 make a
Prometheus refuse the whole scrape, and an unknown schema makes its queries panic.
https://github.com/prometheus/prometheus/blob/main/model/histogram/histogram.go
"""

from __future__ import annotations

from itertools import accumulate
from math import isnan
from typing import TYPE_CHECKING, Any

from ..errors import InvalidPayloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_COUNT = 2**63


def check_native_histogram(name: str, native: Any) -> None:
    """Raise InvalidPayloadError unless a Prometheus takes ``native``, the sample called ``name``.

    It is prometheus_client's ``NativeHistogram``, or has its fields.
    """
    if reason := _reason(native):
        raise InvalidPayloadError(
            f"the native histogram {name!r} is not one that Prometheus takes: {reason}",
            metric=name,
        )


def _reason(native: Any) -> str | None:
    if not -4 <= native.schema <= 8:
        return f"its schema is {native.schema}, which must be from -4 to 8"
    if not native.zero_threshold >= 0:
        return f"its zero threshold is {native.zero_threshold}, which must be 0 or more"
    counts = [native.count_value, native.zero_count]
    for spans, deltas in (
        (native.pos_spans or (), native.pos_deltas or ()),
        (native.neg_spans or (), native.neg_deltas or ()),
    ):
        if reason := _reason_of_spans(spans, len(deltas)):
            return reason
        counts += accumulate(deltas)
    if not all(0 <= count < _LARGEST_COUNT and count == int(count) for count in counts):
        return "its counts must be whole numbers from 0 on"
    total, of_buckets = counts[0], sum(counts[1:])
    # Observations of NaN are in no bucket.
    if of_buckets > total or (of_buckets < total and not isnan(native.sum_value)):
        return f"its count is {total:g}, its buckets hold {of_buckets:g}"
    return None


def _reason_of_spans(spans: Sequence[Any], buckets: int) -> str | None:
    if any(offset < 0 for offset, _ in spans[1:]) or any(length < 0 for _, length in spans):
        return "a span must not go back, nor have a negative length"
    if (length := sum(length for _, length in spans)) != buckets:
        return f"its spans are for {length} buckets, of which there are {buckets}"
    return None
