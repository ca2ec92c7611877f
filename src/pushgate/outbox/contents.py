"""The families of a text body, and a form in which they compare with those a gateway holds.

Nothing is checked: the body was checked when it was made. A family that can't be read is kept as it
is, and equals no other.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..protocol.groups import GroupFamily

__all__ = ("Content", "content_of", "held_content", "split_families")

_COMMENT = re.compile(r'#[ \t]+(HELP|TYPE)[ \t]+("(?:[^"\\]|\\.)*"|\S+)[ \t]*(.*)')
# A name in quotes stands in the braces: {"http.requests",code="200"} 1
_NAME = re.compile(r'[ \t]*(?:([^\s{"#]+)|\{[ \t]*("(?:[^"\\]|\\.)*")[ \t]*[,}])')
# A family's samples have these suffixes, and no others: those of its own name come first.
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}

_SAMPLE = re.compile(
    r'[ \t]*([^\s{"]*)[ \t]*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*(\S+)[ \t]*(?:\d+[ \t]*)?'
)
_LABEL = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s=,"]+)[ \t]*(?:=[ \t]*"((?:[^"\\]|\\.)*)")?')
_ESCAPE = re.compile(r"\\(.)")


class Content(NamedTuple):
    """A family's content. ``value`` is that of its only sample, if that has no labels."""

    fingerprint: str
    value: float | None


def split_families(body: bytes) -> dict[str, str]:
    """The text of each family that has samples, with its comments, by name."""
    comments: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    for line in body.decode("utf-8", "surrogateescape").split("\n"):
        if not line.strip():
            continue
        if line.lstrip().startswith("#"):
            if found := _COMMENT.match(line.lstrip()):
                name = _unquoted(found[2])
                comments.setdefault(name, []).append(line)
                if found[1] == "TYPE":
                    types[name] = found[3].strip()
            continue
        named = _NAME.match(line)
        name = _family_of(_unquoted(named[1] or named[2]) if named else "", types)
        samples.setdefault(name, []).append(line)
    return {
        name: "\n".join([*comments.get(name, ()), *lines, ""]) for name, lines in samples.items()
    }


def content_of(name: str, text: str, grouping: Collection[str]) -> Content:
    """Of a text that ``split_families`` gave. ``grouping`` has the names of the grouping labels."""
    kind, samples = "untyped", []
    try:
        for line in text.split("\n"):
            if line.lstrip().startswith("#"):
                if (found := _COMMENT.match(line.lstrip())) and found[1] == "TYPE":
                    kind = found[3].strip()
            elif line.strip():
                samples.append(_sample(line))
        return _content(kind, samples, grouping)
    except (ValueError, IndexError):
        return Content(_hash(f"unreadable {name} {text!r}"), None)


def held_content(family: GroupFamily, grouping: Collection[str]) -> Content:
    """Of a family that a gateway holds."""
    samples = [(s.name, s.labels, float(s.value)) for s in family.samples]
    return _content(family.type, samples, grouping)


def _content(
    kind: str, samples: Iterable[tuple[str, Mapping[str, str], float]], grouping: Collection[str]
) -> Content:
    found = [
        (
            name,
            # An empty label is as good as none; the gateway adds the grouping labels and instance.
            sorted(
                (label, _bound(label, value))
                for label, value in labels.items()
                if value and label not in grouping
            ),
            value,
        )
        for name, labels, value in samples
    ]
    is_single = len(found) == 1 and not found[0][1]
    return Content(
        _hash(repr((kind.lower(), sorted((n, ls, repr(v)) for n, ls, v in found)))),
        found[0][2] if is_single else None,
    )


def _family_of(sample: str, types: Mapping[str, str]) -> str:
    if sample in types:
        return sample
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            name = sample.removesuffix(suffix)
            if name != sample and types.get(name) == kind:
                return name
    return sample


def _bound(label: str, value: str) -> str:
    """A bucket's bound or a quantile as a number: the gateway writes 1 for what came as 1.0."""
    if label in ("le", "quantile"):
        try:
            return repr(float(value))
        except ValueError:
            pass
    return value


def _sample(line: str) -> tuple[str, Mapping[str, str], float]:
    found = _SAMPLE.fullmatch(line.rstrip("\r"))
    if found is None:
        raise ValueError("not a sample")
    name = found[1]
    labels: dict[str, str] = {}
    for label, value in _LABEL.findall(found[2] or ""):
        plain = _unquoted(label)
        if not name and plain is not label and not labels:
            name = plain
        else:
            labels[plain] = _unescaped(value)
    return name, labels, float(found[3])


def _unquoted(name: str) -> str:
    return _unescaped(name[1:-1]) if name.startswith('"') else name


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
