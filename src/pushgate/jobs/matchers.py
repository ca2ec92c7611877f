"""Label matchers as in PromQL, which select groups.

They are written ``job=backup``, ``instance=~"db.*"`` or ``{job="a",task!~"b|c"}``. The rules:
https://prometheus.io/docs/prometheus/latest/querying/basics/#time-series-selectors
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol.names import quoted, quoted_label

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPERATORS = ("=", "!=", "=~", "!~")
_TEXT = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)"""
_HEAD = re.compile(rf"\s*([a-zA-Z_][a-zA-Z0-9_]*|{_TEXT})\s*(=~|!~|!=|=)\s*", re.DOTALL)
_VALUE = re.compile(rf"({_TEXT})\s*(,?)\s*", re.DOTALL)  # PromQL allows a last comma
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True)
class Matcher:
    """One condition on one label. ``operator`` is one of ``=``, ``!=``, ``=~`` and ``!~``.

    A regular expression has to match the whole value. It is Python's, which differs from
    Prometheus's in rare constructs only. A missing label has the empty value. Raises ValueError for
    another operator, and for a regular expression that does not compile.
    """

    label: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS:
            raise ValueError(f"there is no operator {self.operator!r}; use =, !=, =~ or !~")
        if "~" in self.operator:
            self._pattern()

    def __str__(self) -> str:
        return f"{quoted_label(self.label)}{self.operator}{quoted(self.value)}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` fulfil the condition."""
        value = labels.get(self.label, "")
        if "~" in self.operator:
            found = self._pattern().fullmatch(value) is not None
        else:
            found = value == self.value
        return found != self.operator.startswith("!")

    def _pattern(self) -> re.Pattern[str]:
        try:
            return re.compile(self.value, re.DOTALL)  # re keeps what it has compiled
        except re.error as error:
            raise ValueError(
                f"{self.value!r} is no regular expression: {error}; to match this text itself, use"
                f" {self.label}= in place of {self.label}{self.operator}"
            ) from None


Matchers = str | Matcher | Iterable[str | Matcher]
"""Texts or values, one or many."""


def matches(labels: Mapping[str, str], matchers: Iterable[Matcher]) -> bool:
    """Whether ``labels`` fulfil all of ``matchers``; without any, they do."""
    return all(matcher.matches(labels) for matcher in matchers)


def read_matchers(matchers: Matchers) -> tuple[Matcher, ...]:
    """``matchers`` as values. Raises ValueError."""
    if isinstance(matchers, (str, Matcher)):
        matchers = (matchers,)
    found: list[Matcher] = []
    for matcher in matchers:
        found += (matcher,) if isinstance(matcher, Matcher) else parse_matchers(matcher)
    return tuple(found)


def selective_matchers(matchers: Matchers) -> tuple[Matcher, ...]:
    """``matchers`` as values. Raises ValueError where they would match groups by mistake."""
    wanted = read_matchers(matchers)
    if not wanted:
        raise ValueError(
            'no matcher says which groups to delete; to delete all of them, give job=~".+"'
        )
    if matches({}, wanted):
        raise ValueError(
            f"{','.join(map(str, wanted))} matches every group without that label, of any job; to"
            ' delete all of these, add job=~".+"'
        )
    return wanted


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers in ``text``: one at least. Raises ValueError, which says how to write one.

    A single matcher needs no quotes, which a shell removes: everything after its operator is the
    value. Several, with commas between them, need quotes; braces around them are optional.
    """
    inner = text.strip()
    braces = inner.startswith("{")
    if braces:
        if not inner.endswith("}"):
            raise ValueError(f"{text!r} begins with a brace and does not end with one")
        inner = inner[1:-1]
    found: list[Matcher] = []
    at = 0
    while at < len(inner) or not found:
        head = _HEAD.match(inner, at)
        if head is None:
            raise ValueError(
                f"{text!r} is no matcher; write LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or"
                " LABEL!~REGEXP, such as job=backup or 'instance=~db.*'"
            )
        label, operator, at = _unquoted(head[1]), head[2], head.end()
        value = _VALUE.match(inner, at)
        if value is None:
            if braces or found or inner[at : at + 1] in tuple("\"'`"):
                raise ValueError(f'{text!r}: write the value of {label} as "value"')
            return (Matcher(label, operator, inner[at:]),)
        at = value.end()
        if at < len(inner) and not value[2]:
            raise ValueError(f"{text!r}: {inner[at]!r} follows a value; put a comma between")
        found.append(Matcher(label, operator, _unquoted(value[1])))
    return tuple(found)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]  # a raw string: nothing is escaped
    return _ESCAPED.sub(_unescaped, text[1:-1]) if text[0] in "\"'" else text


def _unescaped(escaped: re.Match[str]) -> str:
    kind = escaped[1]
    if len(kind) > 1:
        return chr(int(kind[1:], 16))
    if kind not in _PLAIN_ESCAPES:
        raise ValueError(f"in quotes, write a backslash as \\\\: \\{kind} stands for nothing")
    return _PLAIN_ESCAPES[kind]
