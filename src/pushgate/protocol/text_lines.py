"""One line of the text format 0.0.4, read as Pushgateway 1.11.2 reads it.

prometheus_client's parser can't stand in: it renames counters, splits interleaved families, strips
carriage returns and accepts what the gateway refuses (no final newline, ``unknown``, ``1_0``,
escapes, late TYPE lines), so a push that passes there would fail in production. The rules and the
error texts are those observed on 1.11.2; their source is
https://github.com/prometheus/common/blob/main/expfmt/text_parse.go
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from .families import Sample

__all__ = ("Comment", "LineError", "read_comment", "read_help", "read_number", "read_sample")

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
_SURROGATE = re.compile("[\ud800-\udfff]")

# What nearly all lines look like, read in a fifth of the time: no escapes, quoted names, timestamps
# or exponents that could be infinite.
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\ud800-\udfff]*"'
_PLAIN = re.compile(
    rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{((?:{_LABEL}(?:,{_LABEL})*,?)?)\}})?[ \t]+"
    r"(-?[0-9]{1,200}(?:\.[0-9]{1,200})?(?:e[+-]?[0-9]{1,2})?)"
)
_PLAIN_LABELS = re.compile(r'([^=,"]+)="([^"]*)"')


class LineError(ValueError):
    """A line that a gateway refuses; the text has the reason."""


class Comment(NamedTuple):
    """A HELP or TYPE line. ``text`` is as written, None where the line ends after the name."""

    keyword: str
    name: str
    text: str | None


def read_comment(line: str, *, utf8_names: bool = False) -> Comment | None:
    """The HELP or TYPE line, or None for any other comment. ``line`` begins with ``#``.

    Raises LineError.
    """
    in_quotes = _QUOTED_COMMENT.fullmatch(line) if utf8_names else None
    match = in_quotes or _COMMENT.fullmatch(line)
    if not match or (not match[2] and match[3] is None):
        return None
    keyword, name, text = match.groups()
    if in_quotes:
        name = _utf8_name(name)
    elif not _NAME.fullmatch(name):
        raise LineError("invalid metric name in comment")
    return Comment(keyword, name, text)


def read_help(text: str) -> str:
    """A HELP line's text without its escapes. Raises LineError for those that there are not."""
    if not _HELP.fullmatch(text):
        raise LineError("invalid escape sequence in HELP")
    return _unescape(text)


def read_sample(line: str, *, utf8_names: bool = False) -> Sample:
    """The sample of a line without blanks before it; its timestamp in milliseconds, or None.

    With ``utf8_names``, names may be in quotes. Raises LineError.
    """
    if plain := _PLAIN.fullmatch(line):
        name, labels, value = plain.groups()
        if not labels:
            return Sample(name, {}, float(value))
        pairs = _PLAIN_LABELS.findall(labels)
        found = dict(pairs)
        if len(found) == len(pairs) and "__name__" not in found:
            return Sample(name, found, float(value))
    name, position, in_braces = _start_of_sample(line, utf8_names)
    found = {}
    if in_braces:
        found, position = _read_labels(line, position, name, utf8_names)
    return Sample(name, found, *_read_value(line[position:]))


def read_number(text: str, what: str) -> float:
    """A number as Go reads it. Raises LineError, which calls it ``what``."""
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text)
    if not _FLOAT.fullmatch(text) or math.isinf(number := float(text)):
        raise LineError(f'expected float as {what}, got "{text}"')
    return number


def _start_of_sample(line: str, utf8_names: bool) -> tuple[str, int, bool]:
    """(name, where what follows it starts, whether that is within braces)."""
    if match := _NAME.match(line):
        braces = _START_OF_LABELS.match(line, match.end())
        return match[0], (braces or match).end(), braces is not None
    braces = _START_OF_LABELS.match(line) if utf8_names else None
    quoted = braces and _QUOTED.match(line, braces.end())
    if not quoted or line[quoted.end() : quoted.end() + 1] not in ("}", ","):
        raise LineError("invalid metric name")
    return _utf8_name(quoted[1]), quoted.end() + (line[quoted.end()] == ","), True


def _read_labels(
    line: str, position: int, metric: str, utf8_names: bool
) -> tuple[dict[str, str], int]:
    """(labels, where the value starts), from within the braces."""
    labels: dict[str, str] = {}
    while not (end := _END_OF_LABELS.match(line, position)):
        match = _LABEL_NAME.match(line, position)
        if match:
            name = match[1]
        elif utf8_names and (match := _QUOTED.match(line, position)):
            name = _utf8_name(match[1])
        else:
            raise LineError(f'invalid label name for metric "{metric}"')
        if name == "__name__":
            raise LineError('label name "__name__" is reserved')
        value = _LABEL_VALUE.match(line, match.end())
        if not value:
            raise LineError(f'expected = and a quoted value after label "{name}"')
        if _SURROGATE.search(value[1]):
            raise LineError(f'invalid label value for label "{name}": not UTF-8')
        if name in labels:
            raise LineError(f'duplicate label names for metric "{metric}"')
        labels[name] = _unescape(value[1])
        position = value.end()
        if line[position : position + 1] == ",":
            position += 1
        elif line[position : position + 1] != "}":
            raise LineError(f'unexpected end of label value "{labels[name]}"')
    return labels, end.end()


def _read_value(text: str) -> tuple[float, int | None]:
    """(value, timestamp). A blank after the value announces a timestamp."""
    value, *timestamp = _BLANKS.split(text.lstrip(" \t"), maxsplit=1)
    number = read_number(value, "value")
    if not timestamp:
        return number, None
    if not _TIMESTAMP.fullmatch(timestamp[0]) or len(timestamp[0]) > 20:
        raise LineError(f'expected integer as timestamp, got "{timestamp[0]}"')
    return number, int(timestamp[0])


def _utf8_name(text: str) -> str:
    name = _unescape(text)
    if _SURROGATE.search(name):
        raise LineError(f'invalid name "{name!a}": not UTF-8')
    return name


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: {"n": "\n"}.get(match[1], match[1]), text)
