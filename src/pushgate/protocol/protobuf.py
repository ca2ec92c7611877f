"""Metric families as protobuf, for what the text format can't carry: exemplars, native histograms.

A gateway reads the same from these messages as from the text of the same families. So the text is
written, with all of its checks, and read again: the messages are made of what a gateway reads.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidPayloadError, PushError
from .families import Family, Sample, families_of
from .metric_types import BOUNDS
from .names import Naming, naming, text_of
from .native_histograms import check_native_histogram
from .parse import parse_text
from .protobuf_fields import (
    double,
    exemplar_fields,
    histogram,
    integer,
    labels,
    message,
    native_fields,
    summary,
    text,
)
from .text import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .families import FamilyLike, Metrics
    from .grouping_key import GroupingKey
    from .parse import TextFamily
    from .protobuf_fields import Labels

    Series = tuple[str, frozenset[tuple[str, str]]]  # its name and labels, as they are written

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_TYPES = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4}
_VALUE_FIELDS = {"gauge": 2, "counter": 3, "summary": 4, "untyped": 5, "histogram": 7}  # of Metric


class ProtobufPayload(NamedTuple):
    """As :class:`pushgate.protocol.text.Payload`, with messages in place of the text."""

    body: bytes
    samples: int
    utf8_names: bool


def encode_protobuf(
    metrics: Metrics, key: GroupingKey | None = None, *, utf8_names: bool = False
) -> ProtobufPayload:
    """Encode everything ``metrics`` collects, each family a message after its length.

    Arguments, rules and errors are those of :func:`pushgate.encode`.
    """
    extras = _Extras(naming(utf8_names=utf8_names))
    payload = encode(map(extras.taken_from, families_of(metrics)), key, utf8_names=utf8_names)
    families = parse_text(payload.text, utf8_names=utf8_names).values()
    body = b"".join(message(None, b"".join(_fields(family, extras))) for family in families)
    return ProtobufPayload(body, payload.samples, payload.utf8_names)


class _Extras:
    """What only protobuf has, by the series of the text that it belongs to, as its fields."""

    def __init__(self, names: Naming) -> None:
        self._names = names
        self.exemplars: dict[Series, bytes] = {}
        self.natives: dict[Series, tuple[float, float, bytes]] = {}  # with count and sum

    def taken_from(self, family: FamilyLike) -> FamilyLike:
        """Note what ``family`` has of it, and return the rest, which the text format has."""
        try:
            return self._taken_from(family)
        except PushError:
            raise
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidPayloadError(
                f"an exemplar or native histogram of the metric {family.name!r} can't be sent:"
                f" {error}; give it text as labels and numbers as values",
                metric=family.name,
            ) from error

    def _taken_from(self, family: FamilyLike) -> FamilyLike:
        if family.type not in ("counter", "histogram", "gaugehistogram"):
            return family
        count = family.name + "_count"
        counted = {self._series(s.name, s) for s in family.samples if s.name == count}
        samples: list[Any] = []
        for sample in family.samples:
            if exemplar := getattr(sample, "exemplar", None):
                found = exemplar_fields(exemplar, self._names)
                self.exemplars[self._series(sample.name, sample)] = found
            native = getattr(sample, "native_histogram", None)
            if not native:
                samples.append(sample)
                continue
            check_native_histogram(sample.name, native)
            if sample.name != family.name:
                raise InvalidPayloadError(
                    f"the sample {sample.name!r} of the histogram {family.name!r} is a native"
                    " histogram; only a sample that has the family's name may be one",
                    metric=sample.name,
                )
            # The text has its count, so that its labels are checked as those of other samples are.
            series = self._series(count, sample)
            fields = native_fields(native, self._names)
            self.natives[series] = native.count_value, native.sum_value, fields
            if series not in counted:
                samples.append(Sample(count, sample.labels, native.count_value, sample.timestamp))
        return Family(family.name, family.documentation, family.type, samples)

    def _series(self, name: str, sample: Any) -> Series:
        pairs = (sample.labels or {}).items()
        written = frozenset((self._names.label(label), text_of(value)) for label, value in pairs)
        return self._names.metric(name), written


def _fields(family: TextFamily, extras: _Extras) -> Iterator[bytes]:
    """Those of a MetricFamily."""
    yield text(1, family.name)
    if family.documentation:
        yield text(2, family.documentation)
    yield integer(3, _TYPES[family.type])
    field = _VALUE_FIELDS[family.type]
    for pairs, value in _values(family, extras):
        yield message(4, labels(1, pairs) + message(field, value))


def _values(family: TextFamily, extras: _Extras) -> Iterator[tuple[Labels, bytes]]:
    """The labels of each metric of the family, and its Gauge, Counter, Histogram, …"""
    children: dict[Labels, list[Sample]] = {}
    bound = BOUNDS.get(family.type)
    for sample in family.samples:
        pairs = tuple(sorted(pair for pair in sample.labels.items() if pair[0] != bound))
        if bound is None:
            exemplar = extras.exemplars.get(_series_of(sample), b"")
            yield pairs, double(1, sample.value) + (exemplar and message(2, exemplar))
        else:
            children.setdefault(pairs, []).append(sample)
    for pairs, samples in children.items():
        if family.type == "summary":
            yield pairs, summary(family.name, samples)
            continue
        exemplars = [extras.exemplars.get(_series_of(sample), b"") for sample in samples]
        native = extras.natives.get((f"{family.name}_count", frozenset(pairs)))
        yield pairs, histogram(family.name, samples, exemplars, native)


def _series_of(sample: Sample) -> Series:
    return sample.name, frozenset(sample.labels.items())
