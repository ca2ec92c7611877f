"""Metric families to payload: the text format 0.0.4, preflight checks included.

Enters: a collector or families, and the grouping key they will be pushed under. Leaves: the bytes
prometheus_client's ``generate_latest`` would write for the same families, or an
InvalidPayloadError where a Pushgateway would refuse or silently alter them. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isnan
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .families import Family
from .preflight import Preflight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .families import FamilyLike, Metrics
    from .grouping import GroupingKey

__all__ = ("CONTENT_TYPE", "Payload", "encode", "families_of")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_INFINITY = float("inf")
_MOST_NEGATIVE = -1.7976931348623157e308

# prometheus_client's types that the text format 0.0.4 does not have, and what it writes instead.
_TEXT_TYPES = {
    "info": "gauge",
    "stateset": "gauge",
    "gaugehistogram": "histogram",
    "unknown": "untyped",
}
_NAME_SUFFIXES = {"counter": "_total", "info": "_info"}
# Samples of OpenMetrics only, written as gauge families of their own after the rest.
_SIDE_FAMILIES = ("_created", "_gcount", "_gsum")


class Payload(NamedTuple):
    """What a push carries: the text and how many samples are in it."""

    text: bytes
    samples: int


def families_of(metrics: Metrics) -> Iterable[FamilyLike]:
    """The families of a registry, collector, family or iterable of families.

    None is prometheus_client's global ``REGISTRY``, looked up now. Raises TypeError for others.
    """
    if metrics is None:
        from prometheus_client import REGISTRY

        return REGISTRY.collect()
    if hasattr(metrics, "collect"):
        return metrics.collect()
    if isinstance(metrics, Family) or hasattr(metrics, "samples"):
        return (cast("FamilyLike", metrics),)
    if not hasattr(metrics, "__iter__") or isinstance(metrics, (str, bytes, dict)):
        raise _not_metrics(metrics)
    return _each(metrics)


def _each(metrics: Iterable[Any]) -> Iterator[FamilyLike]:
    for item in metrics:
        if hasattr(item, "samples"):
            yield item
        elif hasattr(item, "collect"):
            yield from item.collect()
        else:
            raise _not_metrics(item)


def _not_metrics(thing: object) -> TypeError:
    return TypeError(
        f"cannot push a {type(thing).__name__}: pass a CollectorRegistry, a metric, any object with"
        " collect(), or an iterable of these or of metric families"
    )


def encode(metrics: Metrics, key: GroupingKey | None = None) -> Payload:
    """Encode everything ``metrics`` collects, checked against ``key`` where one is given.

    Raises InvalidPayloadError, naming the metric and label and what to change.
    """
    preflight = Preflight(frozenset(key.labels) if key else frozenset())
    out: list[str] = []
    count = 0
    for family in families_of(metrics):
        count += _encode_family(family, out, preflight)
    preflight.finish()
    text = "".join(out)
    try:
        return Payload(text.encode(), count)
    except UnicodeEncodeError:
        raise preflight.not_unicode(text) from None


def _encode_family(family: FamilyLike, out: list[str], preflight: Preflight) -> int:
    kind = family.type
    name = _metric_name(family.name + _NAME_SUFFIXES.get(kind, ""))
    kind = _TEXT_TYPES.get(kind, kind)
    comment = (family.documentation or "").replace("\\", r"\\").replace("\n", r"\n")
    preflight.family(name, kind)
    out.append(f"# HELP {name} {comment}\n# TYPE {name} {kind}\n")

    lines = _FamilyLines(family.name, name, preflight)
    heads = lines.write(family.samples, escape=False)
    if _need_escaping(heads, family.samples):
        lines = lines.emptied()
        heads = lines.write(family.samples, escape=True)
    if kind in ("histogram", "summary"):
        preflight.distribution(family.name, kind, family.samples)
    preflight.series(heads)
    out += lines.own
    for suffix, side in sorted(lines.side.items()):
        side_name = _metric_name(family.name + suffix)
        out.append(f"# HELP {side_name} {comment}\n# TYPE {side_name} gauge\n")
        out += side
    return len(heads)


def _need_escaping(heads: list[str], samples: Iterable[Any]) -> bool:
    """Whether a label value in ``heads``, written plainly, holds a quote, backslash or newline."""
    text = "".join(heads)
    if "\\" in text or "\n" in text:
        return True
    quotes = text.count('"')
    return quotes > 0 and quotes != 2 * sum([len(s.labels) for s in samples if s.labels])


class _Schema(NamedTuple):
    """How the samples of one name and one set of label names are written."""

    template: str  # name{label="%s",…}
    names: tuple[str, ...]  # the labels in written order
    values_of: Callable[[Mapping[str, str]], tuple[Any, ...]] | None  # None: already in order
    target: list[str]  # the lines: the family's own or a side family's


class _FamilyLines:
    """The sample lines of one family. The hot loop: about a microsecond a sample."""

    __slots__ = ("_family", "_preflight", "_schemas", "_written_as", "own", "side")

    def __init__(self, family: str, written_as: str, preflight: Preflight) -> None:
        self._family = family
        self._written_as = written_as
        self._preflight = preflight
        self._schemas: dict[tuple[str, tuple[str, ...]], _Schema] = {}
        self.own: list[str] = []
        self.side: dict[str, list[str]] = {}

    def emptied(self) -> _FamilyLines:
        """This object, ready to write all samples again."""
        self.own.clear()
        for side in self.side.values():
            side.clear()
        return self

    def write(self, samples: Iterable[Any], *, escape: bool) -> list[str]:
        """Write all samples; the result is ``name{labels}`` of each.

        Without ``escape`` label values are taken as they are, which is right for nearly all.
        """
        heads: list[str] = []
        known = self._schemas.get
        for sample in samples:
            labels, value = sample.labels or {}, sample.value
            names = tuple(labels)
            schema = known((sample.name, names)) or self._new_schema(sample.name, names)
            template, ordered, values_of, target = schema
            if escape:
                head = template % tuple([_escaped(labels[name]) for name in ordered])
            elif values_of is None:
                head = template % tuple(labels.values())
            else:
                head = template % values_of(labels)
            heads.append(head)
            # Below a million repr() is what Go writes, save for the infinities and NaN.
            if type(value) is float and _MOST_NEGATIVE <= value < 1e6:
                target.append(f"{head} {value!r}\n")
            else:
                target.append(f"{head} {self._go_float(sample.name, value)}\n")
            if sample.timestamp is not None:
                raise self._preflight.timestamp(sample.name)
        return heads

    def _new_schema(self, sample_name: str, names: tuple[str, ...]) -> _Schema:
        name = _metric_name(sample_name)
        target, family = self.own, self._written_as
        for suffix in _SIDE_FAMILIES:
            if sample_name == self._family + suffix:
                if suffix not in self.side:
                    self._preflight.family(name, "gauge")
                target, family = self.side.setdefault(suffix, []), name
        ordered = tuple(sorted(names))
        written = [_label_name(label) for label in ordered]
        self._preflight.schema(family, name, written)
        template = ",".join([f'{label}="%s"' for label in written])
        schema = _Schema(
            f"{name}{{{template}}}" if template else name,
            ordered,
            None if ordered == names else itemgetter(*ordered),
            target,
        )
        self._schemas[sample_name, names] = schema
        return schema

    def _go_float(self, name: str, value: Any) -> str:
        try:
            return go_float(value)
        except (TypeError, ValueError, OverflowError):
            raise self._preflight.not_a_number(name, value) from None


# prometheus_client's default escaping: an underscore for each illegal character.
@lru_cache(maxsize=1024)
def _metric_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_:]|^[0-9]", "_", name)


@lru_cache(maxsize=1024)
def _label_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]|^[0-9]", "_", name)


def _escaped(value: str) -> str:
    return str(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def go_float(value: Any) -> str:
    """A number as prometheus_client writes it: Go's exponents from a million on."""
    number = float(value)
    if isnan(number):
        return "NaN"
    if number in (_INFINITY, -_INFINITY):
        return "+Inf" if number > 0 else "-Inf"
    text = repr(number)
    dot = text.find(".")
    if number > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text
