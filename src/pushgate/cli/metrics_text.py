"""Prometheus text that somebody else wrote. Enters: bytes and the grouping key. Leaves: text that a
Pushgateway takes, or a CommandError with the line to change. Pure.

The embedded gateway's parser reads as the real one does. prometheus_client's does not: it takes
what a gateway refuses, and splits samples without a TYPE line into families that clash.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ..embedded import model
from ..embedded.parse import ParseError, parse_text
from ..errors import InvalidPayloadError
from ..exposition import encode, go_float
from ..families import Family, Sample
from .ending import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..grouping import GroupingKey

__all__ = ("count_samples", "normalised")


def normalised(text: bytes) -> bytes:
    """``text`` with what editors and Windows do to files undone; a gateway answers 400 to it."""
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") or not text else text + b"\n"


def count_samples(text: bytes, key: GroupingKey, name: str) -> int:
    """How many samples ``text`` holds, each fit for the group ``key``. ``name`` is the file's."""
    try:
        return _check(text, key)
    except ParseError as error:
        place = str(error).removeprefix("text format parsing error in ")
        raise CommandError(f"{name}, {place}") from None
    except InvalidPayloadError as error:
        lines = [line + b"\n" for line in text.split(b"\n")]
        # The shortest beginning that is refused ends with the line to blame.
        count = bisect_left(
            range(len(lines)), True, key=lambda end: _refused(b"".join(lines[:end]), key)
        )
        raise CommandError(f"{name}, line {count}: {error}") from None


def _check(text: bytes, key: GroupingKey) -> int:
    return encode([_plain(family) for family in parse_text(text).values()], key).samples


def _refused(text: bytes, key: GroupingKey) -> bool:
    try:
        _check(text, key)
    except InvalidPayloadError:
        return True
    return False


def _plain(family: model.Family) -> Family:
    # As a gauge, a counter keeps its name: the encoder would add _total where it is missing.
    kind = "histogram" if family.type in model.HISTOGRAMS else (family.type or "untyped").lower()
    kind = "gauge" if kind == "counter" else kind
    samples = tuple(sample for metric in family.metrics for sample in _samples(family, metric))
    return Family(family.name, family.help or "", kind, samples)


def _samples(family: model.Family, metric: model.Metric) -> Iterator[Sample]:
    name, when = family.name, 0 if metric.has_timestamp else None
    if family.type not in (model.SUMMARY, *model.HISTOGRAMS):
        yield Sample(name, metric.labels, metric.value, when)
        return
    label, suffix = ("quantile", "") if family.type == model.SUMMARY else ("le", "_bucket")
    for bound, value in metric.points:
        yield Sample(name + suffix, {**metric.labels, label: go_float(bound)}, value, when)
    yield Sample(f"{name}_sum", metric.labels, metric.sum, when)
    yield Sample(f"{name}_count", metric.labels, metric.count, when)
