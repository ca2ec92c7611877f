"""The text format 0.0.4, as strictly and as leniently as Pushgateway 1.11.2 reads it.

Enters: the body of a push, decompressed. Leaves: its families by name, or ParseError.

prometheus_client's parser cannot stand in: it renames counters, splits interleaved families, strips
carriage returns and accepts what the gateway refuses (no final newline, `unknown`, `1_0`, escapes,
late TYPE lines), so a push that passes here would fail in production. The rules and the error texts
are those observed on 1.11.2; their source is
https://github.com/prometheus/common/blob/main/expfmt/text_parse.go
"""

from __future__ import annotations

import math
import re

from pushgate.protocol import model
from pushgate.protocol.model import Family, Metric

_BLANK = r"[ \t]*"
_BLANKS = re.compile(r"[ \t]+")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(rf"{_BLANK}([a-zA-Z_][a-zA-Z0-9_]*)")
_QUOTED = re.compile(rf'{_BLANK}"((?:[^"\\]|\\[\\n"])+)"{_BLANK}')
_LABEL_VALUE = re.compile(rf'{_BLANK}={_BLANK}"((?:[^"\\]|\\[\\n"])*)"{_BLANK}')
_END_OF_LABELS = re.compile(rf"{_BLANK}\}}")
_START_OF_LABELS = re.compile(rf"{_BLANK}\{{")
_COMMENT = re.compile(
    rf"#{_BLANK}(HELP|TYPE)[ \t]{_BLANK}([^ \t]*)(?:[ \t]{_BLANK}(.*))?", re.DOTALL
)
_QUOTED_COMMENT = re.compile(
    rf'#{_BLANK}(HELP|TYPE)[ \t]{_BLANK}"((?:[^"\\]|\\[\\n"])+)"(?:[ \t]{_BLANK}(.*))?', re.DOTALL
)
_FLOAT = re.compile(r"(?ai)[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?")
_SPECIAL_FLOAT = re.compile(r"(?ai)[+-]?inf(?:inity)?|nan")
_TIMESTAMP = re.compile(r"[+-]?[0-9]+")
_HELP = re.compile(r'(?:[^\\]|\\[\\n"])*')
_ESCAPE = re.compile(r"\\(.)")
_TYPES = {
    name.lower(): name
    for name in (model.COUNTER, model.GAUGE, model.SUMMARY, model.UNTYPED, *model.HISTOGRAMS)
} | {"gaugehistogram": model.GAUGE_HISTOGRAM}
# Labels whose value is a number and part of the metric rather than of its identity.
_SPECIAL_LABELS = {model.SUMMARY: "quantile", **dict.fromkeys(model.HISTOGRAMS, "le")}
# Of a histogram's or a summary's series, beside the bare name.
_SUFFIXES = {
    "_count": (model.SUMMARY, *model.HISTOGRAMS),
    "_sum": (model.SUMMARY, *model.HISTOGRAMS),
    "_bucket": model.HISTOGRAMS,
}


class ParseError(ValueError):
    """The body is not text format 0.0.4; the text has the line and the reason."""


def parse_text(body: bytes, *, utf8_names: bool = False) -> dict[str, Family]:
    """Families by name, without empty ones; names may be in quotes with ``utf8_names``.

    Raises ParseError.
    """
    # HELP may hold any bytes; in label values the escapes of invalid UTF-8 are refused below.
    lines = body.decode("utf-8", "surrogateescape").split("\n")
    parser = _Parser(utf8_names=utf8_names)
    number = 0
    try:
        for number, line in enumerate(lines[:-1], 1):  # noqa: B007 - also the error's line number
            parser.read(line.lstrip(" \t"))
        if lines[-1].strip(" \t"):
            number = len(lines)
            raise ParseError("unexpected end of input stream")
    except ParseError as error:
        raise ParseError(f"text format parsing error in line {number}: {error}") from None
    return {name: family for name, family in parser.families.items() if family.metrics}


class _Parser:
    def __init__(self, *, utf8_names: bool) -> None:
        self._utf8_names = utf8_names
        self.families: dict[str, Family] = {}
        # The children of histograms and summaries, which several lines fill.
        self._children: dict[tuple[str, tuple[tuple[str, str], ...]], Metric] = {}

    def read(self, line: str) -> None:
        if not line:
            return
        if line.startswith("#"):
            self._read_comment(line)
        else:
            self._read_sample(line)

    def _read_comment(self, line: str) -> None:
        in_quotes = _QUOTED_COMMENT.fullmatch(line) if self._utf8_names else None
        match = in_quotes or _COMMENT.fullmatch(line)
        if not match or (not match[2] and match[3] is None):
            return
        keyword, name, text = match.groups()
        if in_quotes:
            name = _utf8_name(name)
        elif not _NAME.fullmatch(name):
            raise ParseError("invalid metric name in comment")
        if text is None:
            return
        family, _ = self._family(name)
        if not text:
            return
        if keyword == "HELP":
            if family.help is not None:
                raise ParseError(f'second HELP line for metric name "{family.name}"')
            if not _HELP.fullmatch(text):
                raise ParseError("invalid escape sequence in HELP")
            family.help = _unescape(text)
            return
        if family.type is not None:
            raise ParseError(
                f'second TYPE line for metric name "{family.name}", or TYPE reported after samples'
            )
        if text.lower() not in _TYPES:
            raise ParseError(f'unknown metric type "{text}"')
        family.type = _TYPES[text.lower()]

    def _read_sample(self, line: str) -> None:
        name, position, in_braces = self._start_of_sample(line)
        family, suffix = self._family(name)
        family.type = family.type or model.UNTYPED
        special = _SPECIAL_LABELS.get(family.type)
        labels: dict[str, str] = {}
        bound, end = math.nan, position
        if in_braces:
            labels, bound, end = self._read_labels(line, position, family.name, special)
        value, has_timestamp = _read_value(line[end:])
        if special is None:
            family.metrics.append(Metric(labels, value, has_timestamp=has_timestamp))
            return
        metric = self._child(family, labels)
        metric.has_timestamp |= has_timestamp
        if suffix == "_count":
            metric.count = _count(family, value, "count")
        elif suffix == "_sum":
            metric.sum = value
        elif not math.isnan(bound):
            if family.type in model.HISTOGRAMS:
                value = _count(family, value, "bucket population")
            metric.points.append((bound, value))

    def _start_of_sample(self, line: str) -> tuple[str, int, bool]:
        """(name, where what follows it starts, whether that is within braces)."""
        if match := _NAME.match(line):
            braces = _START_OF_LABELS.match(line, match.end())
            return match[0], (braces or match).end(), braces is not None
        braces = _START_OF_LABELS.match(line) if self._utf8_names else None
        quoted = braces and _QUOTED.match(line, braces.end())
        if not quoted or line[quoted.end() : quoted.end() + 1] not in ("}", ","):
            raise ParseError("invalid metric name")
        return _utf8_name(quoted[1]), quoted.end() + (line[quoted.end()] == ","), True

    def _read_labels(
        self, line: str, position: int, family: str, special: str | None
    ) -> tuple[dict[str, str], float, int]:
        """(labels, the special label's number, where the value starts), from within the braces."""
        labels: dict[str, str] = {}
        bound = math.nan
        while not (end := _END_OF_LABELS.match(line, position)):
            match = _LABEL_NAME.match(line, position)
            if not match and self._utf8_names and (match := _QUOTED.match(line, position)):
                name = _utf8_name(match[1])
            elif match:
                name = match[1]
            else:
                raise ParseError(f'invalid label name for metric "{family}"')
            if name == "__name__":
                raise ParseError('label name "__name__" is reserved')
            value = _LABEL_VALUE.match(line, match.end())
            if not value:
                raise ParseError(f'expected = and a quoted value after label "{name}"')
            text = _unescape(value[1])
            if any("\udc80" <= character <= "\udcff" for character in text):
                raise ParseError(f'invalid label value for label "{name}": not UTF-8')
            if name == special:
                bound = _float(text, f"value for '{special}' label")
            elif name in labels:
                raise ParseError(f'duplicate label names for metric "{family}"')
            else:
                labels[name] = text
            position = value.end()
            if line[position : position + 1] == ",":
                position += 1
            elif line[position : position + 1] != "}":
                raise ParseError(f'unexpected end of label value "{text}"')
        return labels, bound, end.end()

    def _family(self, name: str) -> tuple[Family, str]:
        """The family that a name belongs to, made if new; and the name's suffix beyond it."""
        if name in self.families:
            return self.families[name], ""
        for suffix, types in _SUFFIXES.items():
            family = self.families.get(name.removesuffix(suffix))
            if family and name.endswith(suffix) and family.type in types:
                return family, suffix
        self.families[name] = Family(name)
        return self.families[name], ""

    def _child(self, family: Family, labels: dict[str, str]) -> Metric:
        key = (family.name, tuple(sorted(labels.items())))
        if key not in self._children:
            self._children[key] = Metric(labels)
            family.metrics.append(self._children[key])
        return self._children[key]


def _read_value(text: str) -> tuple[float, bool]:
    """(value, whether a timestamp follows). A blank after the value announces a timestamp."""
    value, *timestamp = _BLANKS.split(text.lstrip(" \t"), maxsplit=1)
    number = _float(value, "value")
    if timestamp and not _TIMESTAMP.fullmatch(timestamp[0]):
        raise ParseError(f'expected integer as timestamp, got "{timestamp[0]}"')
    return number, bool(timestamp)


def _float(text: str, what: str) -> float:
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text)
    if not _FLOAT.fullmatch(text) or math.isinf(number := float(text)):
        raise ParseError(f'expected float as {what}, got "{text}"')
    return number


def _count(family: Family, value: float, what: str) -> float:
    """A count as the protobuf model keeps it: whole where it can be."""
    if family.type == model.SUMMARY:
        # Go's conversion to uint64 on amd64; there is no float to fall back on.
        if math.isnan(value) or not -(2.0**63) <= value < 2.0**64:
            return 2**63
        return int(value) % 2**64
    if value < 0:
        raise ParseError(f'negative {what} for histogram "{family.name}"')
    return int(value) if value < 2.0**64 and value.is_integer() else value


def _utf8_name(text: str) -> str:
    name = _unescape(text)
    if any("\udc80" <= character <= "\udcff" for character in name):
        raise ParseError(f'invalid name "{name!a}": not UTF-8')
    return name


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: {"n": "\n"}.get(match[1], match[1]), text)
