"""The one parser of the text format 0.0.4: a body as a Pushgateway reads it, or a job's own lines.

:func:`parse_text` is as strict as the gateway. :func:`parse_leniently` takes what scripts append to
a file: a line that can't be pushed costs that line.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .families import Family, Sample
from .text_lines import LineError, read_comment, read_help, read_number, read_sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .grouping_key import GroupingKey

__all__ = ("Complaint", "ParseError", "TextFamily", "parse_leniently", "parse_text")

_TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
# The ends of a distribution's sample names, and the label that tells its buckets apart.
_MEMBERS = {
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
_BOUNDS = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
_STRICT_TYPES = {name: name for name in _TYPES} | dict.fromkeys(
    ("gaugehistogram", "gauge_histogram"), "gaugehistogram"
)


class ParseError(ValueError):
    """The body is not text format 0.0.4; the text has the line and the reason."""


class TextFamily:
    """A family as the text has it: ``name`` with every suffix, ``type`` as the gateway takes it.

    ``lines`` are all its lines, comments included, in their order. Not a dataclass: importing
    dataclasses takes 10 ms, and what fails in a process that dies is parsed to be kept.
    """

    __slots__ = ("documentation", "lines", "name", "samples", "type")

    def __init__(self, name: str) -> None:
        self.name = name
        self.type = ""
        self.documentation: str | None = None
        self.samples: list[Sample] = []
        self.lines: list[str] = []

    @property
    def text(self) -> bytes:
        """The family's lines alone, as a body."""
        return "\n".join([*self.lines, ""]).encode("utf-8", "surrogateescape")


def parse_text(body: bytes, *, utf8_names: bool = False) -> dict[str, TextFamily]:
    """The families of ``body`` by name, without empty ones.

    Names may be in quotes with ``utf8_names``. Bytes of a HELP line that are not UTF-8 become
    surrogates. Raises ParseError.
    """
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    reader = _StrictReader(utf8_names)
    number = 0
    try:
        for number, line in enumerate(lines[:-1], 1):  # noqa: B007 - also the error's line number
            reader.read(line.lstrip(" \t"))
        if lines[-1].strip(" \t"):
            number = len(lines)
            raise LineError("unexpected end of input stream")
    except LineError as error:
        raise ParseError(f"text format parsing error in line {number}: {error}") from None
    return {name: family for name, family in reader.families.items() if family.samples}


class _StrictReader:
    def __init__(self, utf8_names: bool) -> None:
        self._utf8_names = utf8_names
        self.families: dict[str, TextFamily] = {}
        self._family_of: dict[str, TextFamily] = {}  # by names of samples

    def read(self, line: str) -> None:
        if line.startswith("#"):
            self._comment(line)
        elif line:
            self._sample(line)

    def _comment(self, line: str) -> None:
        comment = read_comment(line, utf8_names=self._utf8_names)
        if comment is None or comment.text is None:
            return
        keyword, name, text = comment
        family = self._family(name)
        family.lines.append(line)
        if not text:
            return
        if keyword == "HELP":
            if family.documentation is not None:
                raise LineError(f'second HELP line for metric name "{family.name}"')
            family.documentation = read_help(text)
            return
        if family.type:
            raise LineError(
                f'second TYPE line for metric name "{family.name}", or TYPE reported after samples'
            )
        if text.lower() not in _STRICT_TYPES:
            raise LineError(f'unknown metric type "{text}"')
        family.type = _STRICT_TYPES[text.lower()]

    def _sample(self, line: str) -> None:
        sample = read_sample(line, utf8_names=self._utf8_names)
        family = self._family_of.get(sample.name) or self._family(sample.name)
        family.type = family.type or "untyped"
        if family.type in _BOUNDS:
            _check_member(family, sample)
        family.samples.append(sample)
        family.lines.append(line)

    def _family(self, name: str) -> TextFamily:
        """The family that samples of this name belong to, made if new."""
        if name in self._family_of:
            return self._family_of[name]
        found = self.families.get(name)
        if found is None:
            base, _, end = name.rpartition("_")
            owner = self.families.get(base)
            if owner and f"_{end}" in _MEMBERS.get(owner.type, ()):
                found = owner
            else:
                found = self.families[name] = TextFamily(name)
        self._family_of[name] = found
        return found


def _check_member(family: TextFamily, sample: Sample) -> None:
    bound = _BOUNDS[family.type]
    number = float("nan")
    if bound in sample.labels:
        number = read_number(sample.labels[bound], f"value for '{bound}' label")
    if bound == "le" and sample.value < 0:
        if sample.name == f"{family.name}_count":
            raise LineError(f'negative count for histogram "{family.name}"')
        if number == number and sample.name != f"{family.name}_sum":  # noqa: PLR0124 - not NaN
            raise LineError(f'negative bucket population for histogram "{family.name}"')


class Complaint(NamedTuple):
    """Why a line was not used, or not as it stands."""

    line: int
    text: str


def parse_leniently(
    data: bytes, key: GroupingKey | None = None, *, reserved_prefix: str | None = None
) -> tuple[list[Family], list[Complaint]]:
    """The families in ``data`` that can be pushed to ``key``, and a complaint for each other line.

    What it returns passes :func:`pushgate.encode`. The last value of a series counts. TYPE and HELP
    lines may stand anywhere; samples without a type are gauges, as most that are pushed: a gateway
    has one type for a name in all its groups, and an untyped one would shut theirs out. Timestamps
    are dropped, and names that begin with ``reserved_prefix`` refused. Never raises.
    """
    reader = _LenientReader(frozenset(key.labels) if key else frozenset(), reserved_prefix)
    samples = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            if text := line.decode().strip():
                if text.startswith("#"):
                    reader.comment(text)
                else:
                    samples.append((number, text))
        except UnicodeDecodeError:
            reader.complain(number, "not valid UTF-8", line.decode(errors="replace"))
        except LineError as error:
            reader.complain(number, str(error), text)
    for number, text in samples:  # after all TYPE lines
        try:
            reader.sample(number, text)
        except LineError as error:
            reader.complain(number, str(error), text)
    return reader.families(), sorted(reader.complaints)


_RESERVED = ("push_time_seconds", "push_failure_time_seconds")  # the gateway adds these itself
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class _LenientReader:
    def __init__(self, grouping: frozenset[str], reserved_prefix: str | None) -> None:
        self.complaints: list[Complaint] = []
        self._grouping = grouping
        self._reserved_prefix = reserved_prefix
        self._types: dict[str, str] = {}
        self._documentation: dict[str, str] = {}
        # By family name and type, and there by what makes a series.
        self._series: dict[tuple[str, str], dict[object, Sample]] = {}
        self._homes: dict[str, tuple[str, str]] = {}
        self._sound: set[tuple[str, ...]] = set()  # names of samples and their labels
        self._with_timestamps = False

    def complain(self, number: int, reason: str, line: str) -> None:
        self.complaints.append(Complaint(number, f"{reason}: {line[:80].strip()!a}"))

    def families(self) -> list[Family]:
        return [
            Family(name, self._help_of(name, kind), kind, tuple(series.values()))
            for (name, kind), series in self._series.items()
        ]

    def _help_of(self, name: str, kind: str) -> str:
        written = self._documentation.get(f"{name}_total") if kind == "counter" else None
        return written or self._documentation.get(name, "")

    def comment(self, line: str) -> None:
        try:
            comment = read_comment(line)
        except LineError:
            raise LineError("not a metric name: use letters, digits, '_' and ':'") from None
        if comment is None or self._is_reserved(comment.name):
            return  # a sample of that name will be refused
        if comment.keyword == "HELP":
            self._documentation[comment.name] = comment.text or ""
            with suppress(LineError):  # an escape that there is not stays as it is
                self._documentation[comment.name] = read_help(comment.text or "")
        elif comment.text not in (*_TYPES, "unknown"):
            raise LineError(f"a type must be one of {', '.join(_TYPES)}")
        else:
            self._declare(comment.name, comment.text.replace("untyped", "unknown"))

    def _declare(self, name: str, kind: str) -> None:
        if self._types.get(name, kind) != kind:
            raise LineError(f"{name} is a {self._types[name]} already")
        base, _, end = name.rpartition("_")
        if f"_{end}" in _MEMBERS.get(self._types.get(base, ""), ()):
            raise LineError(f"{name} belongs to the {self._types[base]} {base}")
        names = [name + suffix for suffix in _MEMBERS.get(kind, ())]
        if taken := next((member for member in names if member in self._types), None):
            raise LineError(f"{taken} would belong to it, but is a metric of its own")
        self._types[name] = kind

    def sample(self, number: int, line: str) -> None:
        try:
            name, labels, value, timestamp = read_sample(line)
        except LineError:
            raise LineError(
                "not a metric; write 'name value' or 'name{label=\"v\"} value'"
            ) from None
        names = (name, *labels)
        if names not in self._sound:
            self._check_names(name, labels)
            self._sound.add(names)
            self._homes[name] = self._home(name)
        if "" in labels.values():
            labels = {label: text for label, text in labels.items() if text}
        home = self._homes[name]
        identity = self._identity(home, name, labels, value) if home[1] in _BOUNDS else labels
        if timestamp is not None and not self._with_timestamps:
            self._with_timestamps = True
            advice = "timestamps are dropped, here and below: a Pushgateway refuses them"
            self.complaints.append(Complaint(number, advice))
        series = self._series.setdefault(home, {})
        series[name, frozenset(identity.items())] = Sample(name, labels, value)

    def _check_names(self, name: str, labels: Iterable[str]) -> None:
        if self._is_reserved(name):
            raise LineError(f"the name {name} is reserved; rename the metric")
        for label in labels:
            if label in self._grouping:
                raise LineError(f"the label {label} is in the grouping key; rename it")
            if not _LABEL_NAME.fullmatch(label):
                raise LineError("not a label name: use letters, digits and '_', not '__' first")

    def _is_reserved(self, name: str) -> bool:
        prefix = self._reserved_prefix
        return name in _RESERVED or (prefix is not None and name.startswith(prefix))

    def _home(self, name: str) -> tuple[str, str]:
        """The family of the samples of this name, as the encoder wants it: (name, type)."""
        kind = self._types.get(name)
        if kind == "counter":
            # The encoder would add the _total that the job left out; its name matters more.
            bare = name.removesuffix("_total")
            return (bare, "counter") if bare != name else (name, "unknown")
        if kind == "histogram":
            raise LineError(f"the histogram {name} has {name}_bucket, {name}_sum, {name}_count")
        if kind is not None:
            return name, kind
        base, _, end = name.rpartition("_")
        kind = self._types.get(base, "unknown")
        if f"_{end}" in _MEMBERS.get(kind, ()) or (kind == "counter" and end == "total"):
            return base, kind
        return name, "gauge"

    def _identity(
        self, home: tuple[str, str], name: str, labels: Mapping[str, str], value: float
    ) -> dict[str, object]:
        """What makes a series of a histogram or summary: a bound counts as a number."""
        family, kind = home
        bound, suffix = _BOUNDS[kind], "_bucket" if kind == "histogram" else ""
        if (bound in labels) != (name == family + suffix):
            raise LineError(f"in a {kind}, {family}{suffix} and no other has a label {bound}")
        if name.endswith(("_bucket", "_count")) and not 0 <= value < float("inf"):
            raise LineError("a count must not be negative")
        identity: dict[str, object] = dict(labels)
        if bound in labels:
            try:
                number = read_number(labels[bound], bound)
            except LineError:
                number = float("nan")
            if number != number:  # noqa: PLR0124 - a gateway throws NaN away
                raise LineError(f"the label {bound} must be a number")
            identity[bound] = number
        return identity
