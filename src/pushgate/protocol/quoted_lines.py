"""A sample line in any form: escapes, names in quotes, timestamps, and what is wrong with it."""

from __future__ import annotations

import re

from .families import Sample
from .line_values import LineError, is_unicode, read_number, unescaped, unescaped_name

__all__ = ("read_any_sample",)

_BLANK = r"[ \t]*"
_BLANKS = re.compile(r"[ \t]+")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(rf"{_BLANK}([a-zA-Z_][a-zA-Z0-9_]*)")
_QUOTED = re.compile(rf'{_BLANK}"((?:[^"\\]|\\[\\n"])+)"{_BLANK}')
_LABEL_VALUE = re.compile(rf'{_BLANK}={_BLANK}"((?:[^"\\]|\\[\\n"])*)"{_BLANK}')
_END_OF_LABELS = re.compile(rf"{_BLANK}\}}")
_START_OF_LABELS = re.compile(rf"{_BLANK}\{{")
_TIMESTAMP = re.compile(r"[+-]?[0-9]+")


def read_any_sample(line: str, utf8_names: bool) -> Sample:
    """As :func:`pushgate.protocol.text_lines.read_sample`."""
    name, position, in_braces = _start_of_sample(line, utf8_names)
    found: dict[str, str] = {}
    if in_braces:
        found, position = _read_labels(line, position, name, utf8_names)
    return Sample(name, found, *_read_value(line[position:]))


def _start_of_sample(line: str, utf8_names: bool) -> tuple[str, int, bool]:
    """(name, where what follows it starts, whether that is within braces)."""
    if match := _NAME.match(line):
        braces = _START_OF_LABELS.match(line, match.end())
        return match[0], (braces or match).end(), braces is not None
    braces = _START_OF_LABELS.match(line) if utf8_names else None
    quoted = braces and _QUOTED.match(line, braces.end())
    if not quoted or line[quoted.end() : quoted.end() + 1] not in ("}", ","):
        raise LineError("invalid metric name")
    return unescaped_name(quoted[1]), quoted.end() + (line[quoted.end()] == ","), True


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
            name = unescaped_name(match[1])
        else:
            raise LineError(f'invalid label name for metric "{metric}"')
        if name == "__name__":
            raise LineError('label name "__name__" is reserved')
        value = _LABEL_VALUE.match(line, match.end())
        if not value:
            raise LineError(f'expected = and a quoted value after label "{name}"')
        if not is_unicode(value[1]):
            raise LineError(f'invalid label value for label "{name}": not UTF-8')
        if name in labels:
            raise LineError(f'duplicate label names for metric "{metric}"')
        labels[name] = unescaped(value[1])
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
