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
from .names import is_unicode

_BLANK = r"[ \t]*"
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_TEXT = r'(?:[^"\\]|\\[\\n"])'  # a character between quotes
_COMMENT = re.compile(r"#[ \t]*(HELP|TYPE)[ \t]+([^ \t]*)(?:[ \t]+(.*))?", re.DOTALL)
_QUOTED_COMMENT = rf'#[ \t]*(HELP|TYPE)[ \t]+"({_TEXT}+)"(?:[ \t]+(.*))?'
_HELP = r'(?:[^\\]|\\[\\n"])*'
_START = re.compile(rf"({_NAME})(?:{_BLANK}(\{{))?")
_QUOTED_START = rf'{_BLANK}\{{{_BLANK}"({_TEXT}+)"{_BLANK}(?:,|(?=\}}))'
_LABEL = re.compile(
    rf'{_BLANK}(?:([a-zA-Z_][a-zA-Z0-9_]*)|"({_TEXT}+)"){_BLANK}={_BLANK}"({_TEXT}*)"'
    rf"{_BLANK}(?:,|(?=\}}))"
)
_END_OF_LABELS = re.compile(rf"{_BLANK}\}}")
_NUMBER = re.compile(r"(?ai)[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)|nan")
_TIMESTAMP = r"[+-]?[0-9]{1,19}"


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
    in_quotes = re.fullmatch(_QUOTED_COMMENT, line, re.DOTALL) if utf8_names else None
    match = in_quotes or _COMMENT.fullmatch(line)
    if not match or (not match[2] and match[3] is None):
        return None
    keyword, name, text = match.groups()
    if in_quotes:
        name = _unescaped_name(name)
    elif not re.fullmatch(_NAME, name):
        raise LineError("invalid metric name in comment")
    return Comment(keyword, name, text)


def read_help(text: str) -> str:
    """A HELP line's text without its escapes. Raises LineError for those that there are not."""
    if not re.fullmatch(_HELP, text):
        raise LineError("invalid escape sequence in HELP")
    return _unescaped(text)


def read_sample(line: str, *, utf8_names: bool = False) -> Sample:
    """The sample of a line without blanks before it; its timestamp in milliseconds, or None.

    With ``utf8_names``, names may be in quotes. Raises LineError.
    """
    if match := _START.match(line):
        name, in_braces = match[1], match[2]
    elif utf8_names and (match := re.match(_QUOTED_START, line)):
        name, in_braces = _unescaped_name(match[1]), "{"
    else:
        raise LineError("invalid metric name")
    labels, position = (
        _read_labels(line, match.end(), name, utf8_names) if in_braces else ({}, match.end())
    )
    # A blank after the value announces a timestamp.
    value, *timestamp = re.split(r"[ \t]+", line[position:].lstrip(" \t"), maxsplit=1)
    number = read_number(value, "value")
    if not timestamp:
        return Sample(name, labels, number)
    if not re.fullmatch(_TIMESTAMP, timestamp[0]):
        raise LineError(f'expected integer as timestamp, got "{timestamp[0]}"')
    return Sample(name, labels, number, int(timestamp[0]))


def _read_labels(
    line: str, position: int, metric: str, utf8_names: bool
) -> tuple[dict[str, str], int]:
    """(labels, where the value starts), from within the braces."""
    labels: dict[str, str] = {}
    while not (end := _END_OF_LABELS.match(line, position)):
        match = _LABEL.match(line, position)
        if not match or (match[2] and not utf8_names):
            raise LineError(
                f'invalid label name or value for metric "{metric}"; label values are quoted by "'
            )
        name = match[1] or _unescaped_name(match[2])
        if name == "__name__":
            raise LineError('label name "__name__" is reserved')
        if name in labels:
            raise LineError(f'duplicate label names for metric "{metric}"')
        if not is_unicode(match[3]):
            raise LineError(f'invalid label value for label "{name}": not UTF-8')
        labels[name] = _unescaped(match[3])
        position = match.end()
    return labels, end.end()


def read_number(text: str, what: str) -> float:
    """A number as Go reads it. Raises LineError, which calls it ``what``."""
    number = float(text) if _NUMBER.fullmatch(text) else None
    if number is None or (math.isinf(number) and "i" not in text.lower()):
        raise LineError(f'expected float as {what}, got "{text}"')
    return number


def _unescaped_name(text: str) -> str:
    name = _unescaped(text)
    if not is_unicode(name):
        raise LineError(f'invalid name "{name!a}": not UTF-8')
    return name


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)
