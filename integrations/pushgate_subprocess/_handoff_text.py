"""What a job wrote to its metrics file, as families that a Pushgateway takes.

Bytes and the grouping key enter; families that pass `pushgate.encode` and complaints leave. A
line that can't be used costs that line only. Pure.

prometheus_client's parser reads one sample line at a time: given the whole, it stops at the first
fault, renames counters and splits a family whose lines are not together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pushgate import Family, Sample

if TYPE_CHECKING:
    from pushgate import GroupingKey

__all__ = ("parse",)

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
# What `echo "rows 42"` writes. The parser says the same of it, at the price of an import of 100 ms
# and 16 MiB, which a wrapper of short commands would pay each time.
_PLAIN = re.compile(r"(?a)([a-zA-Z_:][\w:]*)[ \t]+(-?\d{1,15}(?:\.\d{1,9})?)")
# What Go reads as a number, for bounds and quantiles; without NaN, which a gateway throws away.
_NUMBER = re.compile(r"(?ai)[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,2})?|inf(?:inity)?)")
_RESERVED_PREFIX = "batch_job_"  # pushgate's own vocabulary
_RESERVED = ("push_time_seconds", "push_failure_time_seconds")  # the gateway adds these itself

_TYPES = ("counter", "gauge", "histogram", "summary", "untyped", "unknown")
_MEMBERS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
_BOUNDS = {"histogram": ("le", "_bucket"), "summary": ("quantile", "")}

# prometheus_client's parser takes time that grows with the square of a line's length.
_LONGEST_LINE = 16_384
_MOST_COMPLAINTS = 20


class _LineError(ValueError):
    """Why a line is not used."""


def parse(data: bytes, key: GroupingKey) -> tuple[list[Family], list[str]]:
    """Return the families in ``data`` and complaints, each one line with the number of its line.

    The last value of a series wins. Timestamps are dropped.
    """
    reader = _Reader(frozenset(key.labels))
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    samples = [
        (number, text)
        for number, line in enumerate(lines, 1)
        if (text := reader.attempt(number, line, reader.declaration)) is not None
    ]
    for number, text in samples:  # after all TYPE lines, wherever they are
        reader.attempt(number, text, reader.sample)
    return reader.families(), reader.complaints()


class _Reader:
    def __init__(self, grouping: frozenset[str]) -> None:
        self._grouping = grouping
        self._complaints: dict[int, str] = {}
        self._types: dict[str, str] = {}
        self._help: dict[str, str] = {}
        # by (family name, type), and there by whatever makes a series
        self._series: dict[tuple[str, str], dict[Any, Sample]] = {}
        self._timestamp_at: int | None = None

    def families(self) -> list[Family]:
        return [
            Family(name, self._documentation(name, kind), kind, tuple(series.values()))
            for (name, kind), series in self._series.items()
        ]

    def _documentation(self, name: str, kind: str) -> str:
        written = self._help.get(f"{name}_total") if kind == "counter" else None
        return written or self._help.get(name, "")

    def complaints(self) -> list[str]:
        """What is wrong, in the order of the lines."""
        if self._timestamp_at is not None:
            self._complaints.setdefault(
                self._timestamp_at,
                "timestamps are dropped, here and below: a Pushgateway refuses them",
            )
        every = [
            f"$PUSHGATE_METRICS_FILE, line {number}: {reason}"
            for number, reason in sorted(self._complaints.items())
        ]
        left_out = len(every) - _MOST_COMPLAINTS
        more = [f"$PUSHGATE_METRICS_FILE: and {left_out} more lines"] if left_out > 0 else []
        return every[:_MOST_COMPLAINTS] + more

    def attempt(self, number: int, line: Any, read: Any) -> Any:
        """Return ``read(number, line)``, or None and note why that can't be had."""
        try:
            return read(number, line)
        except _LineError as error:
            shown = line[:80].decode(errors="replace") if isinstance(line, bytes) else line[:80]
            self._complaints[number] = f"{error}: {shown.strip()!a}"
            return None

    def declaration(self, _number: int, line: bytes) -> str | None:
        """Take a HELP or TYPE line in; return a line that must be a sample."""
        if len(line) > _LONGEST_LINE:
            raise _LineError(f"a line must not be over {_LONGEST_LINE} bytes")
        if b"\0" in line:
            raise _LineError("NUL bytes can't be pushed")
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            raise _LineError("not valid UTF-8") from None
        if not text.startswith("#"):
            return text or None
        _, keyword, name, rest, *_ = [*text.split(None, 3), "", "", "", ""]
        if keyword not in ("HELP", "TYPE") or name.startswith(_RESERVED_PREFIX):
            return None
        if not _METRIC_NAME.fullmatch(name):
            raise _LineError("not a metric name: use letters, digits, '_' and ':'")
        if keyword == "HELP":
            unescaped = {r"\\": "\\", r"\n": "\n"}
            self._help[name] = re.sub(r"\\[\\n]", lambda found: unescaped[found[0]], rest)
        elif rest not in _TYPES:
            raise _LineError(f"a type must be one of {', '.join(_TYPES)}")
        else:
            self._declare(name, rest)
        return None

    def _declare(self, name: str, kind: str) -> None:
        kind = "unknown" if kind == "untyped" else kind
        if name in _RESERVED:
            return  # its samples will be refused
        if self._types.get(name, kind) != kind:
            raise _LineError(f"{name} is a {self._types[name]} already")
        base, _, end = name.rpartition("_")
        names = [name + suffix for suffix in _MEMBERS.get(kind, ())]
        if f"_{end}" in _MEMBERS.get(self._types.get(base, ""), ()):
            raise _LineError(f"{name} belongs to the {self._types[base]} {base}")
        if taken := next((member for member in names if member in self._types), None):
            raise _LineError(f"{taken} would belong to it, but is a metric of its own")
        self._types[name] = kind

    def sample(self, number: int, text: str) -> None:
        """Take a sample line in."""
        parsed = _parsed(text)
        name, labels = parsed.name, {k: v for k, v in parsed.labels.items() if v}
        self._check_names(name, parsed.labels)
        family, kind = self._home(name)
        value = _number(parsed.value)
        identity = dict[str, object](labels)
        if kind in _BOUNDS:
            label, suffix = _BOUNDS[kind]
            if (label in labels) != (name == family + suffix):
                raise _LineError(f"in a {kind}, {family}{suffix} and no other has a label {label}")
            if label in labels:
                if not _NUMBER.fullmatch(labels[label]):
                    raise _LineError(f"the label {label} must be a number")
                identity[label] = float(labels[label])
            if name.endswith(("_bucket", "_count")) and not 0 <= value < float("inf"):
                raise _LineError("a count must not be negative")
        if parsed.timestamp is not None and self._timestamp_at is None:
            self._timestamp_at = number
        series = self._series.setdefault((family, kind), {})
        series[name, frozenset(identity.items())] = Sample(name, labels, value)

    def _check_names(self, name: str, labels: dict[str, str]) -> None:
        if not _METRIC_NAME.fullmatch(name):
            raise _LineError("not a metric name: use letters, digits, '_' and ':'")
        if name.startswith(_RESERVED_PREFIX) or name in _RESERVED:
            raise _LineError(f"the name {name} is reserved; rename the metric")
        for label in labels:
            if label in self._grouping:
                raise _LineError(f"the label {label} is in the grouping key; rename it")
            if not _LABEL_NAME.fullmatch(label):
                raise _LineError("not a label name: use letters, digits and '_', not '__' first")

    def _home(self, name: str) -> tuple[str, str]:
        """The family of the samples called ``name``, as the encoder wants it: (name, type)."""
        kind = self._types.get(name)
        if kind == "counter":
            # The encoder would add the _total that the job left out; its name matters more.
            bare = name.removesuffix("_total")
            return (bare, "counter") if bare != name else (name, "unknown")
        if kind == "histogram":
            raise _LineError(f"the histogram {name} has {name}_bucket, {name}_sum, {name}_count")
        if kind is not None:
            return name, kind
        base, _, end = name.rpartition("_")
        kind = self._types.get(base, "unknown")
        if f"_{end}" in _MEMBERS.get(kind, ()) or (kind == "counter" and end == "total"):
            return base, kind
        # What job().gauge() and most users of prometheus_client push: a gateway has one type a name
        # for all its groups, and an untyped one would shut theirs out.
        return name, "gauge"


def _parsed(text: str) -> Any:
    if plain := _PLAIN.fullmatch(text):
        return Sample(plain[1], {}, float(plain[2]))
    from prometheus_client.parser import text_string_to_metric_families

    try:
        ((sample,),) = [metric.samples for metric in text_string_to_metric_families(text)]
    except Exception:  # it indexes into what isn't there and divides what is too large
        raise _LineError(
            """not a metric; write 'name value' or 'name{label="v"} value'"""
        ) from None
    return sample


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _LineError("the value is too large for a number") from None
