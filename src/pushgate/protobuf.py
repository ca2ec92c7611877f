"""Metric families as protobuf, for what the text format can't carry: exemplars, native histograms.

Enters: a collector or families, and the grouping key they will be pushed under. Leaves: delimited
``io.prometheus.client.MetricFamily`` messages, or an InvalidPayloadError. Pure. A gateway reads the
same from them as from the text of the same families, for which reason the text's rules are applied
by writing it. It only writes, and that is varints and doubles: the ``protobuf`` package would be a
dependency of every user for one encoder.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .errors import InvalidPayloadError, PushError
from .exposition import SIDE_FAMILIES, encode_families, text_type
from .families import Family, Sample, families_of
from .names import Naming, naming
from .native_histograms import check_native_histogram
from .protobuf_wire import double, integer, message, signed, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .families import FamilyLike, Metrics
    from .grouping import GroupingKey

__all__ = ("CONTENT_TYPE", "Messages", "encode_protobuf")

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_TYPES = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4}
_VALUE_FIELDS = {"gauge": 2, "counter": 3, "untyped": 5}  # of Metric
_BOUNDS = {"histogram": "le", "summary": "quantile"}

_Result = TypeVar("_Result")
_Labels = tuple[tuple[str, str], ...]


class Messages(NamedTuple):
    """As :class:`pushgate.exposition.Payload`, with messages in place of the text."""

    body: bytes
    samples: int
    utf8_names: bool


def encode_protobuf(
    metrics: Metrics, key: GroupingKey | None = None, *, utf8_names: bool = False
) -> Messages:
    """Encode everything ``metrics`` collects, each family a message after its length.

    Arguments, rules and errors are those of :func:`pushgate.encode`.
    """
    families = list(families_of(metrics))
    names = naming(utf8_names=utf8_names)
    payload = encode_families(
        [_guarded(_without_native, family) for family in families], key, utf8_names=utf8_names
    )
    out = _Messages(names)
    for family in families:
        _guarded(out.add, family)
    return Messages(out.delimited(), payload.samples, payload.utf8_names)


def _guarded(step: Callable[[FamilyLike], _Result], family: FamilyLike) -> _Result:
    """The rest has been checked: what still can't be written is an exemplar or native histogram."""
    try:
        return step(family)
    except PushError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidPayloadError(
            f"an exemplar or native histogram of the metric {family.name!r} can't be sent: {error};"
            " give it text as labels and numbers as values",
            metric=family.name,
        ) from error


def _without_native(family: FamilyLike) -> FamilyLike:
    """The family with a ``_count`` in place of each native histogram, which text has no form for.

    So its labels are checked as those of other samples are.
    """
    if not family.type.endswith("histogram"):
        return family
    count = family.name + "_count"
    counted = {_labels_of(sample) for sample in family.samples if sample.name == count}
    samples: list[Any] = []
    for sample in family.samples:
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
        if _labels_of(sample) not in counted:
            plain = Sample(count, sample.labels, native.count_value, sample.timestamp)
            samples.append(plain)
    return Family(family.name, family.documentation, family.type, samples)


def _labels_of(sample: Any) -> _Labels:
    return tuple(sorted((name, str(value)) for name, value in (sample.labels or {}).items()))


class _Messages:
    """The messages of one payload. ``names`` is how names are written."""

    def __init__(self, names: Naming) -> None:
        self._names = names
        # Of each family its head and its metrics: two families may hold strays of one name.
        self._families: dict[str, tuple[bytes, list[bytes]]] = {}

    def delimited(self) -> bytes:
        """All of them; a family without a metric is none, for a gateway."""
        return b"".join(
            message(None, head + b"".join(metrics))
            for head, metrics in self._families.values()
            if metrics
        )

    def add(self, family: FamilyLike) -> None:
        """Sort the samples as a gateway's text parser does."""
        kind, suffix = text_type(family.type)
        name = self._names.metric(family.name + suffix)
        members = [name + end for end in _MEMBERS.get(kind, ("",))]
        own: list[Any] = []
        for sample in family.samples:
            written = self._names.metric(sample.name)
            if any(sample.name == family.name + side for side in SIDE_FAMILIES):
                self._scalar(written, family.documentation, "gauge", sample)
            elif written in members:
                own.append(sample)
            else:
                self._scalar(written, "", "untyped", sample)
        if kind in _BOUNDS:
            self._distributions(name, family, kind, own)
        else:
            for sample in own:
                self._scalar(name, family.documentation, kind, sample)

    def _metrics(self, name: str, documentation: str, kind: str) -> list[bytes]:
        if name not in self._families:
            documentation = (documentation or "").lstrip(" \t")  # as the text's is read
            head = text(1, name) + (text(2, documentation) if documentation else b"")
            self._families[name] = (head + integer(3, _TYPES[kind]), [])
        return self._families[name][1]

    def _scalar(self, name: str, documentation: str, kind: str, sample: Any) -> None:
        value = double(1, float(sample.value))
        if kind == "counter":
            value += self._exemplar(2, getattr(sample, "exemplar", None))
        metric = self._labels(1, _labels_of(sample)) + message(_VALUE_FIELDS[kind], value)
        self._metrics(name, documentation, kind).append(message(4, metric))

    def _distributions(
        self, name: str, family: FamilyLike, kind: str, samples: Sequence[Any]
    ) -> None:
        by_labels: dict[_Labels, list[Any]] = {}
        for sample in samples:
            labels = tuple(pair for pair in _labels_of(sample) if pair[0] != _BOUNDS[kind])
            by_labels.setdefault(labels, []).append(sample)
        metrics = self._metrics(name, family.documentation, kind)
        for labels, of_labels in by_labels.items():
            if kind == "histogram":
                value = message(7, self._histogram(family.name, of_labels))
            else:
                value = message(4, _summary(family.name, of_labels))
            metrics.append(message(4, self._labels(1, labels) + value))

    def _histogram(self, name: str, samples: Sequence[Any]) -> bytes:
        values = {s.name: float(s.value) for s in samples}
        buckets = [
            (float(sample.labels["le"]), float(sample.value), getattr(sample, "exemplar", None))
            for sample in samples
            if sample.name == f"{name}_bucket"
        ]
        buckets = sorted((b for b in buckets if not isnan(b[0])), key=lambda bucket: bucket[0])
        native = next(filter(None, (getattr(s, "native_histogram", None) for s in samples)), None)
        count, total = values.get(f"{name}_count"), values.get(f"{name}_sum")
        if native is not None:
            count, total = native.count_value, native.sum_value
        counts = [value for _, value, _ in buckets] + ([] if count is None else [count])
        # A count that is no whole number makes all of them floats: a histogram has either.
        whole = all(float(value).is_integer() and value < 2**64 for value in counts)
        out = b""
        if count is not None:
            out += integer(1, int(count)) if whole else double(4, count)
        if total is not None:
            out += double(2, total)
        for bound, value, exemplar in buckets:
            population = integer(1, int(value)) if whole else double(4, value)
            out += message(3, population + double(2, bound) + self._exemplar(3, exemplar))
        return out if native is None else out + self._native(native)

    def _native(self, native: Any) -> bytes:
        out = signed(5, native.schema) + double(6, native.zero_threshold)
        out += integer(7, int(native.zero_count))
        positive = native.pos_spans or ()
        if not positive and not native.neg_spans and not native.zero_threshold:
            positive = ((0, 0),)  # says that it is native although it has no bucket yet
        for span_field, delta_field, spans, deltas in (
            (9, 10, native.neg_spans or (), native.neg_deltas or ()),
            (12, 13, positive, native.pos_deltas or ()),
        ):
            for offset, length in spans:
                out += message(span_field, signed(1, offset) + integer(2, length))
            out += b"".join(signed(delta_field, int(delta)) for delta in deltas)
        for exemplar in native.nh_exemplars or ():
            if exemplar.timestamp is not None:  # without one it is refused, says the definition
                out += self._exemplar(16, exemplar)
        return out

    def _exemplar(self, field: int, exemplar: Any) -> bytes:
        if not exemplar:
            return b""
        out = self._labels(1, _labels_of(exemplar)) + double(2, float(exemplar.value))
        moment = exemplar.timestamp
        if moment is not None:
            # prometheus_client's Timestamp has whole seconds and nanoseconds; else it is a float.
            seconds = getattr(moment, "sec", None)
            if seconds is None:
                seconds, fraction = divmod(float(moment), 1)
                nanoseconds = int(fraction * 1e9)
            else:
                nanoseconds = moment.nsec
            out += message(3, integer(1, int(seconds)) + integer(2, nanoseconds))
        return message(field, out)

    def _labels(self, field: int, labels: _Labels) -> bytes:
        return b"".join(
            message(field, text(1, self._names.label(name)) + text(2, value))
            for name, value in labels
        )


_MEMBERS = {"histogram": ("", "_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}


def _summary(name: str, samples: Sequence[Any]) -> bytes:
    out = b""
    for sample in samples:
        value = float(sample.value)
        if sample.name == f"{name}_count":
            out += integer(1, int(value) if value < 2**64 else 2**63)  # as the text's is read
        elif sample.name == f"{name}_sum":
            out += double(2, value)
        elif not isnan(quantile := float(sample.labels["quantile"])):
            out += message(3, double(1, quantile) + double(2, value))
    return out
