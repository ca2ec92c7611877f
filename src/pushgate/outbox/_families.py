"""A body, taken apart into families, and what is in one, to compare it with what a gateway holds.

Enters: bodies as they were pushed, and families as a gateway answers. Leaves: bytes for each
family, as they came; its samples in a form that is the same wherever they come from. Does not
check: that was done before. What can't be read is a family that equals no other.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.text import CONTENT_TYPE as TEXT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..protocol.groups import GroupFamily

__all__ = ("Content", "content_of", "content_type_of", "held_content", "split")

_COMMENT = re.compile(rb'#[ \t]+(HELP|TYPE)[ \t]+("(?:[^"\\]|\\.)*"|\S+)[ \t]*(.*)')
# A name in quotes stands in the braces: {"http.requests",code="200"} 1
_NAME = re.compile(rb'[ \t]*(?:([^\s{"#]+)|\{[ \t]*("(?:[^"\\]|\\.)*")[ \t]*[,}])')
# A family's samples have these suffixes, and no others: those of its own name come first.
_SUFFIXES = {b"histogram": (b"_bucket", b"_sum", b"_count"), b"summary": (b"_sum", b"_count")}

_TYPE = re.compile(r'[ \t]*#[ \t]+TYPE[ \t]+(?:"(?:[^"\\]|\\.)*"|\S+)[ \t]+(\S+)')
_SAMPLE = re.compile(
    r'[ \t]*([^\s{"]*)[ \t]*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*(\S+)[ \t]*(?:\d+[ \t]*)?'
)
_LABEL = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s=,"]+)[ \t]*(?:=[ \t]*"((?:[^"\\]|\\.)*)")?')
_Sample = tuple[str, "Mapping[str, str]", float]
_ESCAPE = re.compile(r"\\(.)")


def content_type_of(kind: str) -> str:
    """The Content-Type of bodies of a kind, "text" or "protobuf"."""
    if kind == "text":
        return TEXT
    from ..protocol.protobuf import CONTENT_TYPE as PROTOBUF

    return PROTOBUF


def split(body: bytes, kind: str = "text") -> dict[str, bytes]:
    """The families of ``body`` that have samples, by name, each whole: of text, with comments."""
    if kind != "text":
        from ._messages import split_messages

        return split_messages(body)
    comments: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    types: dict[bytes, bytes] = {}
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        if line.lstrip().startswith(b"#"):
            if found := _COMMENT.match(line.lstrip()):
                name = _unquoted(found[2])
                comments.setdefault(name, []).append(line)
                if found[1] == b"TYPE":
                    types[name] = found[3].strip()
            continue
        named = _NAME.match(line)
        name = _family_of(_unquoted(named[1] or named[2]) if named else b"", types)
        samples.setdefault(name, []).append(line)
    return {
        name.decode("utf-8", "backslashreplace"): b"\n".join([*comments.get(name, ()), *lines, b""])
        for name, lines in samples.items()
    }


def _family_of(sample: bytes, types: Mapping[bytes, bytes]) -> bytes:
    if sample in types:
        return sample
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            name = sample.removesuffix(suffix)
            if name != sample and types.get(name) == kind:
                return name
    return sample


def _unquoted(name: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name


class Content(NamedTuple):
    """What a family says. ``value`` is that of its only sample, where that has no labels."""

    fingerprint: str
    value: float | None


def content_of(name: str, body: bytes, grouping: Collection[str], kind: str = "text") -> Content:
    """Of the bytes that ``split`` gave. ``grouping`` has the names of the grouping labels."""
    try:
        if kind != "text":
            from ._messages import read_messages

            return _content(*read_messages(body), grouping)
        return _content(*_read_text(body), grouping)
    except (ValueError, IndexError, StructError):
        return Content(_hash(f"unreadable {name} {body!r}"), None)


def _read_text(body: bytes) -> tuple[str, list[_Sample]]:
    kind, samples = "untyped", []
    for line in body.decode("utf-8", "surrogateescape").split("\n"):
        if found := _TYPE.match(line):
            kind = found[1]
        elif line.strip() and not line.lstrip().startswith("#"):
            samples.append(_sample(line))
    return kind, samples


def held_content(family: GroupFamily, grouping: Collection[str]) -> Content:
    """Of what a gateway holds."""
    samples = [(s.name, s.labels, float(s.value)) for s in family.samples]
    return _content(family.type, samples, grouping)


def _content(kind: str, samples: Iterable[_Sample], grouping: Collection[str]) -> Content:
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


def _bound(label: str, value: str) -> str:
    """A bucket's bound or a quantile as a number: the gateway writes 1 for what came as 1.0."""
    if label in ("le", "quantile"):
        try:
            return repr(float(value))
        except ValueError:
            pass
    return value


def _sample(line: str) -> _Sample:
    found = _SAMPLE.fullmatch(line.rstrip("\r"))
    if found is None:
        raise ValueError("not a sample")
    name = found[1]
    labels: dict[str, str] = {}
    for label, value in _LABEL.findall(found[2] or ""):
        plain = _unescaped(label[1:-1]) if label.startswith('"') else label
        if not name and label.startswith('"') and not labels:
            name = plain
        else:
            labels[plain] = _unescaped(value)
    return name, labels, float(found[3])


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _hash(text: str) -> str:
    from hashlib import blake2b

    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
