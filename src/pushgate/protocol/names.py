"""Names of metrics and labels, as the text format and a URL's path write them.

A name is written with underscores, which every reader takes; or, for a gateway that runs with
``--push.enable-utf8-names``, in quotes in a text and with ``U__`` escapes in a path.

https://prometheus.io/docs/instrumenting/escaping_schemes
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST_VALUE = 200  # characters; identifiers are far shorter
_ESCAPED_RUNE = r"_(?:(_)|([0-9a-fA-F]{1,6})_)"


# prometheus_client's default escaping: an underscore for each illegal character.
@lru_cache(maxsize=1024)
def underscored_metric(name: str) -> str:
    """A metric's name with an underscore for each character that not everybody reads."""
    return re.sub(r"[^a-zA-Z0-9_:]|^[0-9]", "_", name)


@lru_cache(maxsize=1024)
def underscored_label(name: str) -> str:
    """A label's name, likewise."""
    return re.sub(r"[^a-zA-Z0-9_]|^[0-9]", "_", name)


@lru_cache(maxsize=1024)
def quoted_metric(name: str) -> str:
    """A metric's name as a text has it: in quotes if not everybody reads it."""
    return name if name and underscored_metric(name) == name else quoted(name)


@lru_cache(maxsize=1024)
def quoted_label(name: str) -> str:
    """A label's name, likewise."""
    return name if name and underscored_label(name) == name else quoted(name)


def quoted(text: str) -> str:
    """Any text in quotes, as the text format and PromQL write values."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'"{escaped}"'


class Naming(NamedTuple):
    """How names are sent: what a name of a metric or label becomes."""

    metric: Callable[[str], str]
    label: Callable[[str], str]


_UNDERSCORES = Naming(underscored_metric, underscored_label)
_AS_THEY_ARE = Naming(str, str)


def naming(*, utf8_names: bool) -> Naming:
    """Names as they are, or those that every gateway reads."""
    return _AS_THEY_ARE if utf8_names else _UNDERSCORES


def selector(labels: Mapping[str, str]) -> str:
    """As PromQL writes them: ``{job="backup","db.name"="shop"}``."""
    return f"{{{','.join([f'{quoted_label(name)}={quoted(labels[name])}' for name in labels])}}}"


def to_path(name: str) -> str:
    """A label's name as a path has it. One that begins with ``U__`` would be decoded, too."""
    if underscored_label(name) == name and not name.startswith("U__"):
        return name
    return escaped(name)


def escaped(name: str) -> str:
    """A name with ``U__`` escapes, also one that needs none.

    https://github.com/prometheus/proposals/blob/main/proposals/0028-utf8.md#text-escaping
    """
    return "U__" + re.sub(
        "_|^[^a-zA-Z]|[^a-zA-Z0-9]", lambda m: "__" if m[0] == "_" else f"_{ord(m[0]):x}_", name
    )


def from_path(name: str) -> str | None:
    """The name that a gateway with UTF-8 names takes a path's for, None where it could not."""
    if not name.startswith("U__"):
        return name
    if not re.fullmatch(f"(?:[^_]|{_ESCAPED_RUNE})+", name[3:]):
        return None
    try:
        found = re.sub(_ESCAPED_RUNE, lambda m: "_" if m[1] else chr(int(m[2], 16)), name[3:])
    except ValueError:  # beyond Unicode
        return None
    return found if is_unicode(found) else None


def is_unicode(text: str) -> bool:
    """Whether ``text`` holds no lone surrogate, which a byte that is not UTF-8 becomes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_of(value: object) -> str:
    """A label's value as it is written: of a str its characters, also where it shows others.

    An Enum that is a str does.
    """
    return str.__str__(value) if isinstance(value, str) else str(value)


def label_value(name: str) -> str:
    """What a framework calls a job, as a label's value that each gateway takes: short Unicode."""
    return name[:_LONGEST_VALUE].encode("utf-8", "replace").decode()
