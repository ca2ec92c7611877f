"""Metric families as a payload: the text format 0.0.4, checked while it is written.

The bytes are those that prometheus_client's ``generate_latest`` writes for the same families.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from functools import lru_cache
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

from .checks import PayloadChecks
from .families import families_of
from .metric_types import BOUNDS, text_type
from .names import from_path, naming, quoted_metric, underscored_label
from .payload_errors import no_time, not_a_number, not_unicode, overwritten, with_timestamp
from .sample_heads import schema_of
from .timestamps import is_possible_time, is_time_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .families import FamilyLike, Metrics
    from .grouping_key import GroupingKey
    from .sample_heads import Schema

__all__ = ("CONTENT_TYPE", "Payload", "encode")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

if TYPE_CHECKING:
    # What writes the head of a sample from its labels, and what adds its line to the family's.
    _HeadAndTarget = tuple[Callable[[Mapping[str, str]], str], Callable[[str], None]]

_INFINITY = float("inf")
_MOST_NEGATIVE = -1.7976931348623157e308


class Payload(NamedTuple):
    """What a push carries: the text and how many samples are in it.

    ``utf8_names`` says that only a gateway with ``--push.enable-utf8-names`` reads it.
    """

    text: bytes
    samples: int
    utf8_names: bool = False


def encode(
    metrics: Metrics, key: GroupingKey | None = None, *, utf8_names: bool = False
) -> Payload:
    """Encode everything ``metrics`` collects, checked against ``key`` where one is given.

    Characters of names that not every gateway reads become underscores, or stay as they are with
    ``utf8_names``. Raises InvalidPayloadError, naming the metric and label and what to change.
    """
    checks = PayloadChecks(_grouping_labels(key) if key else {})
    out: list[str] = []
    count = 0
    for family in families_of(metrics):
        count += _write_family(family, out, checks, utf8_names)
    checks.finish()
    text = "".join(out)
    try:
        return Payload(text.encode(), count, checks.utf8_names)
    except UnicodeEncodeError:
        raise not_unicode(text) from None


def _grouping_labels(key: GroupingKey) -> dict[str, tuple[str, str] | None]:
    """As the checks compare them. What is written with ``U__`` may be taken for either."""
    found: dict[str, tuple[str, str] | None] = {
        underscored_label(item[0]): item for item in key.labels.items()
    }
    if "/U__" in key.path and not key.utf8_names:
        for label in key.labels:
            if label.startswith("U__"):
                found |= {label: None, underscored_label(from_path(label) or label): None}
    return found


@lru_cache(maxsize=1024)  # a process pushes the same families again and again
def _names_of(family: str, kind: str, utf8_names: bool) -> tuple[str, str, str, bool]:
    """A family's name and type as the text has them, and the name as it is written.

    The last is whether it is a time of the job metrics.
    """
    text_kind, suffix = text_type(kind)
    name = naming(utf8_names=utf8_names).metric(family + suffix)
    return name, text_kind, quoted_metric(name), is_time_name(name)


def _write_family(
    family: FamilyLike, out: list[str], checks: PayloadChecks, utf8_names: bool
) -> int:
    name, kind, written, is_time = _names_of(family.name, family.type, utf8_names)
    checks.family(name, kind)
    comment, samples = family.documentation or "", family.samples
    if "\\" in comment or "\n" in comment:
        comment = comment.replace("\\", r"\\").replace("\n", r"\n")
    head = f"# HELP {written} {comment}\n# TYPE {written} {kind}\n"
    if type(samples) in (list, tuple) and len(samples) == 1 and kind not in BOUNDS:
        (sample,) = samples
        if _is_plain(sample, written):
            if is_time and not is_possible_time(sample.value):
                raise no_time(name, sample.value)
            out.append(f"{head}{written} {sample.value!r}\n")
            return 1
    out.append(head)

    lines = _Lines(family.name, name, checks, utf8_names)
    heads = lines.write(samples, escape=False)
    if lines.with_labels and _need_escaping(heads, samples):
        lines = _Lines(family.name, name, None, utf8_names)
        heads = lines.write(samples, escape=True)
    if kind in BOUNDS:
        checks.distribution(family.name, kind, samples)
    if len(heads) > 1:
        checks.series(heads)
    out += lines.own
    for end, side in sorted(lines.sides.items()):
        written = quoted_metric(naming(utf8_names=utf8_names).metric(family.name + end))
        out.append(f"# HELP {written} {comment}\n# TYPE {written} gauge\n")
        out += side
    return len(heads)


def _is_plain(sample: Any, name: str) -> bool:
    """Whether it is what most families hold: one number without labels, below a million."""
    value = sample.value
    return (
        sample.name == name
        and not sample.labels
        and type(value) is float
        and _MOST_NEGATIVE <= value < 1e6
        and sample.timestamp is None
    )


def _need_escaping(heads: Sequence[str], samples: Iterable[Any]) -> bool:
    """Whether a label value in ``heads``, written plainly, holds a quote, backslash or newline.

    Or a name is in quotes: then all is written again to no harm.
    """
    text = "".join(heads)
    if "\\" in text or "\n" in text:
        return True
    return text.count('"') != 2 * sum([len(s.labels) for s in samples if s.labels])


class _Lines:
    """The sample lines of one family. Without ``checks`` they were checked before."""

    __slots__ = ("_checks", "_family", "_name", "_utf8_names", "own", "sides", "with_labels")

    def __init__(
        self, family: str, name: str, checks: PayloadChecks | None, utf8_names: bool
    ) -> None:
        self._family = family
        self._name = name
        self._checks = checks
        self._utf8_names = utf8_names
        self.own: list[str] = []
        self.sides: dict[str, list[str]] = {}
        self.with_labels = False

    def write(self, samples: Iterable[Any], *, escape: bool) -> list[str]:
        """Write all samples; the result is ``name{labels}`` of each.

        Without ``escape`` label values are taken as they are, which is right for nearly all. The
        hot loop: below a microsecond a sample.
        """
        heads: list[str] = []
        add_head = heads.append
        known: dict[
            tuple[str, tuple[str, ...]], tuple[Callable[..., str], Callable[..., None]]
        ] = {}
        of_name, of_labels = None, None
        for sample in samples:
            name, labels, value = sample.name, sample.labels or {}, sample.value
            given = tuple(labels)
            if given != of_labels or name != of_name:  # mostly as the sample before
                of_name, of_labels = name, given
                if (name, given) not in known:
                    known[name, given] = self._schema_of(name, given)
                head_of, write = known[name, given]
            if escape:
                labels = {label: _escaped(text) for label, text in labels.items()}
            head = head_of(labels)
            add_head(head)
            # Below a million repr() is what Go writes, save for the infinities and NaN.
            if type(value) is float and _MOST_NEGATIVE <= value < 1e6:
                write(f"{head} {value!r}\n")
            else:
                write(f"{head} {_number(name, value)}\n")
            if sample.timestamp is not None:
                raise with_timestamp(name)
        return heads

    def _schema_of(self, sample: str, given: tuple[str, ...]) -> _HeadAndTarget:
        """What writes the samples' heads, once they are checked, and what adds their lines."""
        schema = schema_of(sample, given, self._family, self._utf8_names)
        name, target = self._name, self.own
        if schema.side:
            name = schema.name
            if schema.side not in self.sides:
                self.sides[schema.side] = []
                if self._checks is not None:
                    self._checks.family(name, "gauge")
            target = self.sides[schema.side]
        self.with_labels |= bool(given)
        head, add = schema.head, target.append
        if self._checks is not None:
            if given or schema.name != name:
                shared = self._checks.schema(name, schema.name, schema.labels)
                if shared:
                    head = _agreeing(schema, sorted(given), shared)
            if is_time_name(schema.name):
                add = _checking_times(schema.name, add)
        return head, add


def _agreeing(
    schema: Schema, given: Sequence[str], shared: Mapping[str, str]
) -> Callable[[Mapping[str, str]], str]:
    """Writes the heads of samples that have the labels ``shared`` with the grouping key."""
    values = [
        (label, shared[written])
        for label, written in zip(given, schema.labels, strict=True)
        if written in shared
    ]

    def head(labels: Mapping[str, str]) -> str:
        for label, value in values:
            if str(labels[label]) != value:
                raise overwritten(schema.name, label)
        return schema.head(labels)

    return head


def _checking_times(name: str, add: Callable[[str], None]) -> Callable[[str], None]:
    """Adds the lines of samples whose values must be times."""

    def add_time(line: str) -> None:
        value = line.rpartition(" ")[2].strip()
        if not is_possible_time(float(value)):
            raise no_time(name, value)
        add(line)

    return add_time


def _escaped(value: str) -> str:
    return str(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(name: str, value: Any) -> str:
    try:
        return go_float(value)
    except (TypeError, ValueError, OverflowError):
        raise not_a_number(name, value) from None


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
