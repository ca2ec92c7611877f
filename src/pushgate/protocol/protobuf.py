"""Metric families as protobuf, for what the text format can't carry: exemplars, native histograms.

A gateway reads the same from these messages as from the text of the same families, so the text's
rules are applied by writing the text, too.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import InvalidPayloadError, PushError
from .families import Family, Sample, families_of
from .metric_types import BOUNDS, MEMBERS, text_type
from .names import Naming, naming
from .native_histograms import check_native_histogram
from .protobuf_fields import (
    counter,
    histogram,
    integer,
    labels,
    labels_of,
    message,
    scalar,
    summary,
    text,
)
from .sample_heads import is_side
from .text import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .families import FamilyLike, Metrics
    from .grouping_key import GroupingKey
    from .protobuf_fields import Labels

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_TYPES = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4}
_VALUE_FIELDS = {"gauge": 2, "counter": 3, "untyped": 5}  # of Metric

_Result = TypeVar("_Result")


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
    families = list(families_of(metrics))
    names = naming(utf8_names=utf8_names)
    payload = encode(
        [_guarded(_without_native, family) for family in families], key, utf8_names=utf8_names
    )
    out = _MessageWriter(names)
    for family in families:
        _guarded(out.add, family)
    return ProtobufPayload(out.delimited(), payload.samples, payload.utf8_names)


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
    counted = {labels_of(sample) for sample in family.samples if sample.name == count}
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
        if labels_of(sample) not in counted:
            plain = Sample(count, sample.labels, native.count_value, sample.timestamp)
            samples.append(plain)
    return Family(family.name, family.documentation, family.type, samples)


class _MessageWriter:
    """Collects the messages of one payload. ``names`` is how names are written."""

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
        members = [name, *[name + end for end in MEMBERS.get(kind, ())]]
        own: list[Any] = []
        for sample in family.samples:
            written = self._names.metric(sample.name)
            if is_side(family.name, sample.name):
                self._scalar(written, family.documentation, "gauge", sample)
            elif written in members:
                own.append(sample)
            else:
                self._scalar(written, "", "untyped", sample)
        if kind in BOUNDS:
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
        value = counter(sample, self._names) if kind == "counter" else scalar(sample)
        metric = labels(1, labels_of(sample), self._names) + message(_VALUE_FIELDS[kind], value)
        self._metrics(name, documentation, kind).append(message(4, metric))

    def _distributions(
        self, name: str, family: FamilyLike, kind: str, samples: Sequence[Any]
    ) -> None:
        by_labels: dict[Labels, list[Any]] = {}
        for sample in samples:
            pairs = tuple(pair for pair in labels_of(sample) if pair[0] != BOUNDS[kind])
            by_labels.setdefault(pairs, []).append(sample)
        metrics = self._metrics(name, family.documentation, kind)
        for pairs, of_labels in by_labels.items():
            if kind == "histogram":
                value = message(7, histogram(family.name, of_labels, self._names))
            else:
                value = message(4, summary(family.name, of_labels))
            metrics.append(message(4, labels(1, pairs, self._names) + value))
