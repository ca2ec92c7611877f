"""One line of the text format 0.0.4, read as Pushgateway 1.11.2 reads it.

prometheus_client's parser can't stand in: it renames counters, splits interleaved families, strips
carriage returns and accepts what the gateway refuses (no final newline, ``unknown``, ``1_0``,
escapes, late TYPE lines), so a push that passes there would fail in production. The rules and the
error texts are those observed on 1.11.2; their source is
https://github.com/prometheus/common/blob/main/expfmt/text_parse.go

Here are the comments, and samples in the form that nearly all have; quoted_lines.py reads the rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .families import Sample
from .line_values import LineError, is_unicode, unescaped, unescaped_name

__all__ = (
    "Comment",
    "read_comment",
    "read_help",
    "read_sample",
)

_COMMENT = re.compile(r"#[ \t]*(HELP|TYPE)[ \t]+([^ \t]*)(?:[ \t]+(.*))?", re.DOTALL)
_QUOTED_COMMENT = r'#[ \t]*(HELP|TYPE)[ \t]+"((?:[^"\\]|\\[\\n"])+)"(?:[ \t]+(.*))?'
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = r'(?:[^\\]|\\[\\n"])*'

# No escapes, quoted names, timestamps, or exponents that could be infinite.
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*"'
_PLAIN = re.compile(
    rf"({_NAME})(?:\{{((?:{_LABEL}(?:,{_LABEL})*,?)?)\}})?[ \t]+"
    r"(-?[0-9]{1,200}(?:\.[0-9]{1,200})?(?:e[+-]?[0-9]{1,2})?)"
)
_PLAIN_LABELS = re.compile(r'([^=,"]+)="([^"]*)"')


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
        name = unescaped_name(name)
    elif not re.fullmatch(_NAME, name):
        raise LineError("invalid metric name in comment")
    return Comment(keyword, name, text)


def read_help(text: str) -> str:
    """A HELP line's text without its escapes. Raises LineError for those that there are not."""
    if not re.fullmatch(_HELP, text):
        raise LineError("invalid escape sequence in HELP")
    return unescaped(text)


def read_sample(line: str, *, utf8_names: bool = False) -> Sample:
    """The sample of a line without blanks before it; its timestamp in milliseconds, or None.

    With ``utf8_names``, names may be in quotes. Raises LineError.
    """
    if (plain := _PLAIN.fullmatch(line)) and (line.isascii() or is_unicode(line)):
        name, labels, value = plain.groups()
        if not labels:
            return Sample(name, {}, float(value))
        pairs = _PLAIN_LABELS.findall(labels)
        found = dict(pairs)
        if len(found) == len(pairs) and "__name__" not in found:
            return Sample(name, found, float(value))
    from .quoted_lines import read_any_sample  # a dozen expressions that few texts need

    return read_any_sample(line, utf8_names)
