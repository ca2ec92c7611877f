"""Metric families as a payload: the text format 0.0.4, checked while it is written.

The bytes are those that prometheus_client's ``generate_latest`` writes for the same families.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from math import isnan
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from .checks import PayloadChecks
from .families import Sample, families_of
from .metric_types import BOUNDS, text_type
from .names import from_path, naming, quoted, quoted_metric, text_of, underscored_label
from .payload_errors import bad_sample, no_time, not_unicode, overwritten
from .sample_heads import schema_of
from .steps import SAMPLES_OF_A_STEP, finished
from .timestamps import is_possible_time, is_time_name

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from .families import FamilyLike, Metrics
    from .grouping_key import GroupingKey
    from .sample_heads import Schema

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_INFINITY = float("inf")
_MOST_NEGATIVE = -1.7976931348623157e308
_FIELDS = attrgetter(*Sample._fields)


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
    return finished(encode_steps(metrics, key, utf8_names=utf8_names))


def encode_steps(
    metrics: Metrics, key: GroupingKey | None = None, *, utf8_names: bool = False
) -> Generator[None, None, Payload]:
    """As :func:`encode`, some families at each step, so that an event loop can do others' work.

    The payload is what the generator returns.
    """
    checks = PayloadChecks(_grouping_labels(key) if key else {})
    out: list[str] = []
    count, step = 0, SAMPLES_OF_A_STEP
    for family in families_of(metrics):
        count += _write_family(family, out, checks, utf8_names)
        if count > step:
            step = count + SAMPLES_OF_A_STEP
            yield
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
    columns = _columns_of(samples)
    writer = _SampleWriter(family.name, name, checks, utf8_names)
    lines = writer.lines(kind, *columns)
    if not writer.sides:
        out += lines
        return len(lines)
    names = columns[0]
    out += compress(lines, [name not in writer.sides for name in names])
    for sample in sorted(writer.sides):
        written = quoted_metric(naming(utf8_names=utf8_names).metric(sample))
        out.append(f"# HELP {written} {comment}\n# TYPE {written} gauge\n")
        out += compress(lines, [name == sample for name in names])
    return len(lines)


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


def _columns_of(
    samples: Sequence[Any],
) -> tuple[Sequence[str], Sequence[Mapping[str, str]], Sequence[Any]]:
    """Names, labels and values: a loop over these takes half of the time of one over samples."""
    kinds = set(map(type, samples))
    if any(getattr(kind, "_fields", ())[: len(Sample._fields)] != Sample._fields for kind in kinds):
        samples = list(map(_FIELDS, samples))
    names, labels, values, timestamps, *_ = zip(*samples, strict=False) if samples else [()] * 4
    if timestamps.count(None) < len(timestamps):
        name = next(n for n, at in zip(names, timestamps, strict=True) if at is not None)
        raise bad_sample(
            name,
            "a timestamp, which a Pushgateway refuses; drop it, or push the time as a gauge of its"
            " own",
        )
    return names, labels if all(labels) else [given or {} for given in labels], values


class _SampleWriter:
    """Writes the samples of the family ``family``, which the text calls ``name``."""

    def __init__(self, family: str, name: str, checks: PayloadChecks, utf8_names: bool) -> None:
        self._family = family
        self._name = name
        self._checks = checks
        self._utf8_names = utf8_names
        self._schemas: dict[tuple[str, tuple[str, ...]], Schema] = {}
        self._times: set[str] = set()
        self._shared: dict[str, str] = {}  # labels of the grouping key, too, and their values
        self.sides: set[str] = set()
        """Those sample names that are written as families of their own."""

    def lines(
        self,
        kind: str,
        names: Sequence[str],
        labels: Sequence[Mapping[str, str]],
        values: Sequence[Any],
    ) -> list[str]:
        """The line of each sample, checked."""
        heads = self._heads(names, labels)
        text = "".join(heads)
        # Label values are written as they are, which is right for nearly all. With names in quotes
        # all is written again to no harm.
        if "\\" in text or "\n" in text or text.count('"') != 2 * sum(map(len, labels)):
            escaped = [
                {name: quoted(text_of(v))[1:-1] for name, v in given.items()} for given in labels
            ]
            heads = self._heads(names, escaped)
        # Below a million repr() is what Go writes, save for the infinities and NaN.
        lines = [
            f"{head} {value!r}\n"
            if type(value) is float and _MOST_NEGATIVE <= value < 1e6
            else f"{head} {_number(name, value)}\n"
            for name, head, value in zip(names, heads, values, strict=True)
        ]
        if self._shared:
            self._require_shared(names, labels)
        if self._times:
            self._require_times(names, values)
        if kind in BOUNDS:
            self._checks.distribution(self._family, kind, names, labels, values)
        if len(heads) > 1:
            self._checks.series(heads)
        return lines

    def _heads(self, names: Sequence[str], labels: Sequence[Mapping[str, str]]) -> list[str]:
        """``name{labels}`` of each sample. The hot loop: a fraction of a microsecond a sample."""
        heads: list[str] = []
        add = heads.append
        of_name, count = None, -1
        for name, given in zip(names, labels, strict=True):
            if name != of_name or len(given) != count:  # mostly as the sample before
                of_name, count = name, len(given)
                head = self._schema_of(name, given).head
            try:
                add(head(given))
            except (KeyError, TypeError):  # as many labels, of other names; a value that is no str
                head = self._schema_of(name, given).head
                add(head({label: text_of(value) for label, value in given.items()}))
        return heads

    def _schema_of(self, name: str, given: Mapping[str, str]) -> Schema:
        """How such samples are written, once that they may be is checked."""
        key = name, tuple(given)
        if key in self._schemas:
            return self._schemas[key]
        schema = self._schemas[key] = schema_of(*key, self._family, self._utf8_names)
        owner = self._name
        if schema.is_side:
            owner = schema.name
            if name not in self.sides:
                self.sides.add(name)
                self._checks.family(owner, "gauge")
        if given or schema.name != owner:
            self._shared |= self._checks.schema(owner, schema.name, schema.labels)
        if is_time_name(schema.name):
            self._times.add(name)
        return schema

    def _require_shared(self, names: Sequence[str], labels: Sequence[Mapping[str, str]]) -> None:
        """Raise InvalidPayloadError where a label has not the value that the grouping key has."""
        written = naming(utf8_names=self._utf8_names)
        for name, given in zip(names, labels, strict=True):
            for label, value in given.items():
                own = written.label(label)
                text = text_of(value)
                if text != self._shared.get(own, text):
                    raise overwritten(written.metric(name), own)

    def _require_times(self, names: Sequence[str], values: Sequence[Any]) -> None:
        """Raise InvalidPayloadError where a time of the job metrics is none that a clock shows."""
        for name, value in zip(names, values, strict=True):
            if name in self._times and not is_possible_time(float(value)):
                raise no_time(name, value)


def _number(name: str, value: Any) -> str:
    try:
        return go_float(value)
    except (TypeError, ValueError, OverflowError):
        raise bad_sample(name, f"the value {value!r}, which is not a number") from None


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
