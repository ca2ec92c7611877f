"""Delimited protobuf messages, taken apart: the families of a body, and the samples of a family.

Enters: what protobuf.py has written, or another encoder. Leaves: bytes by family; samples as a
gateway's ``/api/v1/metrics`` shows them, without exemplars and the buckets of native histograms.
Raises ValueError, IndexError or struct.error for what is no such message.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("read_messages", "split_messages")

_TYPES = ("counter", "gauge", "summary", "untyped", "histogram")
_SUMMARY, _HISTOGRAM = 4, 7  # fields of Metric
_VALUES = (2, 3, 5)  # the same: gauge, counter, untyped
_SCHEMA = 5  # of Histogram: it is a native one

Field = int | float | bytes
_Sample = tuple[str, dict[str, str], float]


def split_messages(body: bytes) -> dict[str, bytes]:
    """The families that have metrics, by name, each as its delimited messages."""
    families: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        length, start = _varint(body, at)
        if start + length > len(body):
            raise ValueError("a message is cut short")
        message = body[start : start + length]
        fields = dict(_fields(message))
        if 4 in fields:
            name = _text(fields.get(1, b""))
            families[name] = families.get(name, b"") + body[at : start + length]
        at = start + length
    return families


def read_messages(body: bytes) -> tuple[str, list[_Sample]]:
    """The type and the samples of the messages of one family."""
    kind, at = "counter", 0
    samples: list[_Sample] = []
    while at < len(body):
        length, start = _varint(body, at)
        at = start + length
        name = ""
        metrics = []
        for number, value in _fields(body[start:at]):
            if number == 1:
                name = _text(value)
            elif number == 3:
                kind = _TYPES[int(value)]
            elif number == 4:
                metrics.append(_bytes(value))
        for metric in metrics:
            samples += _samples(name, metric)
    return kind, samples


def _samples(name: str, metric: bytes) -> Iterator[_Sample]:
    labels: dict[str, str] = {}
    fields = list(_fields(metric))
    for number, value in fields:
        if number == 1:
            pair = dict(_fields(_bytes(value)))
            labels[_text(pair.get(1, b""))] = _text(pair.get(2, b""))
    for number, value in fields:
        if number in _VALUES:
            yield name, labels, float(dict(_fields(_bytes(value))).get(1, 0.0))
        elif number in (_SUMMARY, _HISTOGRAM):
            yield from _distribution(name, labels, _bytes(value), number == _HISTOGRAM)


def _distribution(
    name: str, labels: dict[str, str], message: bytes, is_histogram: bool
) -> Iterator[_Sample]:
    fields = list(_fields(message))
    single = dict(fields)
    if not (is_histogram and _SCHEMA in single):
        for number, value in fields:
            if number == 3:
                part = dict(_fields(_bytes(value)))
                if is_histogram:
                    count = part.get(4) or part.get(1, 0)
                    yield f"{name}_bucket", {**labels, "le": str(part.get(2, 0.0))}, float(count)
                else:
                    quantile = {**labels, "quantile": str(part.get(1, 0.0))}
                    yield name, quantile, float(part.get(2, 0.0))
    yield f"{name}_sum", labels, float(single.get(2, 0.0))
    count = (single.get(4) if is_histogram else None) or single.get(1, 0)
    yield f"{name}_count", labels, float(count)


def _fields(message: bytes) -> Iterator[tuple[int, Field]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: Field
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 1:
            (value,) = struct.unpack_from("<d", message, at)
            at += 8
        elif kind == 2:
            length, at = _varint(message, at)
            value = message[at : at + length]
            at += length
        elif kind == 5:
            (value,) = struct.unpack_from("<f", message, at)
            at += 4
        else:
            raise ValueError(f"there is no wire type {kind}")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _bytes(value: Field) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number in place of a message")
    return value


def _text(value: Field) -> str:
    return _bytes(value).decode("utf-8", "backslashreplace")
