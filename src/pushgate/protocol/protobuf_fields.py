"""Fields and parts of protobuf messages: numbers and texts, then the values of metrics.

Only written, and that is varints and doubles: the ``protobuf`` package would be a dependency of
every user for one encoder.

https://protobuf.dev/programming-guides/encoding/
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

import struct
from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from .families import Sample
    from .names import Naming

    Labels: TypeAlias = tuple[tuple[str, str], ...]

_VARINT, _FIXED64, _BYTES = 0, 1, 2


def integer(field: int, value: int) -> bytes:
    """A field of a type such as ``uint64``, ``int64`` or an enumeration."""
    return _varint(field << 3 | _VARINT) + _varint(value)


def signed(field: int, value: int) -> bytes:
    """A field of the type ``sint32`` or ``sint64``."""
    return integer(field, 2 * value if value >= 0 else -2 * value - 1)


def double(field: int, value: float) -> bytes:
    """A field of the type ``double``."""
    return _varint(field << 3 | _FIXED64) + struct.pack("<d", value)


def text(field: int, value: str) -> bytes:
    """A field of the type ``string``. Raises UnicodeEncodeError for a lone surrogate."""
    return message(field, value.encode())


def message(field: int | None, value: bytes) -> bytes:
    """A field that holds a message; without a field, a message after its length."""
    tag = b"" if field is None else _varint(field << 3 | _BYTES)
    return tag + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF  # negative ones are written as their two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def labels(field: int, pairs: Labels) -> bytes:
    """LabelPairs, in this field of a metric or exemplar."""
    return b"".join(message(field, text(1, name) + text(2, value)) for name, value in pairs)


def summary(name: str, samples: Sequence[Sample]) -> bytes:
    """A Summary of the samples ``name`` and its count and sum, of one set of labels."""
    out = b""
    for sample in samples:
        value = sample.value
        if sample.name == f"{name}_count":
            out += integer(1, int(value) if value < 2**64 else 2**63)  # as the text's is read
        elif sample.name == f"{name}_sum":
            out += double(2, value)
        elif not isnan(quantile := float(sample.labels["quantile"])):
            out += message(3, double(1, quantile) + double(2, value))
    return out


def histogram(
    name: str,
    samples: Sequence[Sample],
    exemplars: Sequence[bytes],
    native: tuple[float, float, bytes] | None,
) -> bytes:
    """A Histogram of the samples ``name`` and its buckets, count and sum, of one set of labels.

    ``exemplars`` are the samples' own, empty for most. ``native`` has count, sum and fields.
    """
    values = {sample.name: sample.value for sample in samples}
    buckets = [
        (float(sample.labels["le"]), sample.value, exemplar)
        for sample, exemplar in zip(samples, exemplars, strict=True)
        if sample.name == f"{name}_bucket"
    ]
    buckets = sorted((b for b in buckets if not isnan(b[0])), key=lambda bucket: bucket[0])
    count, total, fields = values.get(f"{name}_count"), values.get(f"{name}_sum"), b""
    if native is not None:
        count, total, fields = native
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
        out += message(3, population + double(2, bound) + (exemplar and message(3, exemplar)))
    return out + fields


def native_fields(native: Any, names: Naming) -> bytes:
    """What a Histogram has more if it is a native one, as prometheus_client has it."""
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
            out += message(16, exemplar_fields(exemplar, names))
    return out


def exemplar_fields(exemplar: Any, names: Naming) -> bytes:
    """An Exemplar, as prometheus_client has it."""
    pairs = sorted((names.label(name), str(value)) for name, value in exemplar.labels.items())
    out = labels(1, tuple(pairs)) + double(2, float(exemplar.value))
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
    return out
