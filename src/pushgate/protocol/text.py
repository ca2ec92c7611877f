"""Metric families to payload: the text format 0.0.4, preflight checks included.

Enters: a collector or families, and the grouping key they will be pushed under. Leaves: the bytes
prometheus_client's ``generate_latest`` would write for the same families, or an
InvalidPayloadError where a Pushgateway would refuse or silently alter them. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from math import isnan
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .checks import Preflight
from .families import families_of
from .names import Naming, from_path, naming, quoted_label, quoted_metric, underscored_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .families import FamilyLike, Metrics
    from .grouping_key import GroupingKey

__all__ = (
    "CONTENT_TYPE",
    "SIDE_FAMILIES",
    "Payload",
    "encode",
    "encode_families",
    "text_type",
)

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
SIDE_FAMILIES = ("_created", "_gcount", "_gsum")
"""Ends of samples of OpenMetrics only, written as gauge families of their own after the rest."""


class Payload(NamedTuple):
    """What a push carries: the text and how many samples are in it.

    ``utf8_names`` says that only a gateway with ``--push.enable-utf8-names`` reads it.
    """

    text: bytes
    samples: int
    utf8_names: bool = False


def text_type(kind: str) -> tuple[str, str]:
    """What the text format calls a type of prometheus_client, and what it adds to the name."""
    return _TEXT_TYPES.get(kind, kind), _NAME_SUFFIXES.get(kind, "")


def encode(
    metrics: Metrics, key: GroupingKey | None = None, *, utf8_names: bool = False
) -> Payload:
    """Encode everything ``metrics`` collects, checked against ``key`` where one is given.

    Characters of names that not every gateway reads become underscores, or stay as they are with
    ``utf8_names``. Raises InvalidPayloadError, naming the metric and label and what to change.
    """
    return encode_families(families_of(metrics), key, utf8_names=utf8_names)


def encode_families(
    families: Iterable[FamilyLike], key: GroupingKey | None, *, utf8_names: bool
) -> Payload:
    """As encode, where the families are at hand."""
    preflight = Preflight(_grouping_labels(key) if key else frozenset())
    names = naming(utf8_names=utf8_names)
    out: list[str] = []
    count = 0
    for family in families:
        count += _encode_family(family, out, preflight, names)
    preflight.finish()
    text = "".join(out)
    try:
        return Payload(text.encode(), count, preflight.utf8_names)
    except UnicodeEncodeError:
        raise preflight.not_unicode(text) from None


def _grouping_labels(key: GroupingKey) -> frozenset[str]:
    """As preflight compares them. What is written with ``U__`` may be taken for either."""
    if key.utf8_names:
        return frozenset(map(underscored_label, key.labels))
    labels = frozenset(key.labels)
    if "/U__" not in key.path:
        return labels
    return labels.union(underscored_label(from_path(label) or label) for label in labels)


def _encode_family(family: FamilyLike, out: list[str], preflight: Preflight, names: Naming) -> int:
    kind = family.type
    name = names.metric(family.name + _NAME_SUFFIXES.get(kind, ""))
    kind = _TEXT_TYPES.get(kind, kind)
    written = quoted_metric(name)
    comment = (family.documentation or "").replace("\\", r"\\").replace("\n", r"\n")
    preflight.family(name, kind)
    out.append(f"# HELP {written} {comment}\n# TYPE {written} {kind}\n")

    lines = _FamilyLines(family.name, name, preflight, names)
    heads = lines.write(family.samples, escape=False)
    if _need_escaping(heads, family.samples):
        lines = lines.emptied()
        heads = lines.write(family.samples, escape=True)
    if kind in ("histogram", "summary"):
        preflight.distribution(family.name, kind, family.samples)
    preflight.series(heads)
    out += lines.own
    for suffix, side in sorted(lines.side.items()):
        written = quoted_metric(names.metric(family.name + suffix))
        out.append(f"# HELP {written} {comment}\n# TYPE {written} gauge\n")
        out += side
    return len(heads)


def _need_escaping(heads: list[str], samples: Iterable[Any]) -> bool:
    """Whether a label value in ``heads``, written plainly, holds a quote, backslash or newline.

    Or a name is in quotes: then all is written again to no harm.
    """
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

    __slots__ = ("_family", "_names", "_preflight", "_schemas", "_written_as", "own", "side")

    def __init__(self, family: str, written_as: str, preflight: Preflight, names: Naming) -> None:
        self._family = family
        self._names = names
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
        name = self._names.metric(sample_name)
        target, family = self.own, self._written_as
        for suffix in SIDE_FAMILIES:
            if sample_name == self._family + suffix:
                if suffix not in self.side:
                    self._preflight.family(name, "gauge")
                target, family = self.side.setdefault(suffix, []), name
        ordered = tuple(sorted(names))
        written = [self._names.label(label) for label in ordered]
        self._preflight.schema(family, name, written)
        schema = _Schema(
            _template(name, written) if written or quoted_metric(name) != name else name,
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


def _template(name: str, labels: Iterable[str]) -> str:
    parts = [quoted_label(label).replace("%", "%%") + '="%s"' for label in labels]
    written = quoted_metric(name)
    if written == name:
        return f"{name}{{{','.join(parts)}}}"
    return f"{{{','.join([written.replace('%', '%%'), *parts])}}}"


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
