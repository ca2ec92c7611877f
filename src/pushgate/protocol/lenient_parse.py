"""The lenient half of the parser: what scripts append to a file, line by line."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .families import Family, Sample
from .metric_types import BOUNDS, MEMBERS, RESERVED_FAMILIES, TYPES
from .text_lines import LineError, read_comment, read_help, read_number, read_sample
from .timestamps import is_impossible_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .grouping_key import GroupingKey


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
    are dropped, and names that begin with ``reserved_prefix`` refused. A label that ``key`` has
    with the same value is left out: the gateway adds it. Never raises.
    """
    reader = _LenientReader(key.labels if key else {}, reserved_prefix)
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


class _LenientReader:
    def __init__(self, grouping: Mapping[str, str], reserved_prefix: str | None) -> None:
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
        elif comment.text not in (*TYPES, "unknown"):
            raise LineError(f"a type must be one of {', '.join(TYPES)}")
        else:
            self._declare(comment.name, comment.text.replace("untyped", "unknown"))

    def _declare(self, name: str, kind: str) -> None:
        if self._types.get(name, kind) != kind:
            raise LineError(f"{name} is a {self._types[name]} already")
        base, _, end = name.rpartition("_")
        if f"_{end}" in MEMBERS.get(self._types.get(base, ""), ()):
            raise LineError(f"{name} belongs to the {self._types[base]} {base}")
        names = [name + suffix for suffix in MEMBERS.get(kind, ())]
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
        for label in self._grouping.keys() & labels.keys():
            if labels[label] != self._grouping[label]:
                raise LineError(f"the label {label} is in the grouping key; rename it")
            labels = {each: text for each, text in labels.items() if each != label}
        names = (name, *labels)
        if names not in self._sound:
            self._check_names(name, labels)
            self._sound.add(names)
            self._homes[name] = self._home(name)
        if is_impossible_time(name, value):
            raise LineError("the value is no time that a clock shows; write Unix seconds")
        if "" in labels.values():
            labels = {label: text for label, text in labels.items() if text}
        home = self._homes[name]
        identity = self._identity(home, name, labels, value) if home[1] in BOUNDS else labels
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
            if label.startswith("__"):
                raise LineError("not a label name: use letters, digits and '_', not '__' first")

    def _is_reserved(self, name: str) -> bool:
        prefix = self._reserved_prefix
        return name in RESERVED_FAMILIES or (prefix is not None and name.startswith(prefix))

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
        if f"_{end}" in MEMBERS.get(kind, ()) or (kind == "counter" and end == "total"):
            return base, kind
        return name, "gauge"

    def _identity(
        self, home: tuple[str, str], name: str, labels: Mapping[str, str], value: float
    ) -> dict[str, object]:
        """What makes a series of a histogram or summary: a bound counts as a number."""
        family, kind = home
        bound, suffix = BOUNDS[kind], "_bucket" if kind == "histogram" else ""
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
