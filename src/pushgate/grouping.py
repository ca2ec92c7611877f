"""The grouping key: which group of a Pushgateway a push belongs to, and its URL path.

Enters: a job name and labels, any values. Leaves: a frozen :class:`GroupingKey`, valid by
construction, or an InvalidGroupingKeyError. Protocol rules:
https://github.com/prometheus/pushgateway/blob/master/README.md#url
"""

from __future__ import annotations

import base64
import re
import socket
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from .errors import InvalidGroupingKeyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("GroupingKey", "instance_ip_grouping_key")

MAX_PATH_BYTES = 900_000  # Go's default header limit: 900 kB observed to work, 1.1 MB to give 431

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_ESCAPED_RUNE = re.compile(r"_(?:(_)|([0-9a-fA-F]{1,6})_)")


class GroupingKey:
    """A group's identity: the job and further labels. Immutable, hashable, valid by construction.

    ``job`` and the label values may be any text, also empty for labels; label values of other
    types are converted with ``str``. Label names are ``[a-zA-Z_][a-zA-Z0-9_]*``, not ``job`` and
    without a leading ``__``. Raises InvalidGroupingKeyError, a ValueError.
    """

    __slots__ = ("_items", "path")

    path: str
    """The URL path of the group, ``/metrics/job/…``, labels in code point order."""

    def __init__(self, job: str, labels: Mapping[str, object] | None = None) -> None:
        if not isinstance(job, str):  # None of an unset variable, bytes, a GroupingKey
            raise InvalidGroupingKeyError(
                f"the job name must be a string, not {type(job).__name__}: {job!r}", label="job"
            )
        items = [("job", _checked_value("job", job))]
        for name in sorted(map(_checked_name, labels or ())):
            items.append((name, _checked_value(name, (labels or {})[name])))
        if not items[0][1]:
            raise InvalidGroupingKeyError(
                "the job name is empty; a Pushgateway needs a non-empty one", label="job", value=""
            )
        if len(items) > 1:
            _refuse_twins(items)
        path = "/metrics" + "".join([f"/{_component(name, value)}" for name, value in items])
        if len(path) > MAX_PATH_BYTES:
            name, value = max(items, key=lambda item: len(item[1]))
            raise InvalidGroupingKeyError(
                f"the grouping key makes a URL of {len(path)} bytes, over the {MAX_PATH_BYTES} a"
                f" Pushgateway accepts; shorten the value of {name!r}",
                label=name,
                value=value,
            )
        object.__setattr__(self, "_items", tuple(items))
        object.__setattr__(self, "path", path)

    @property
    def job(self) -> str:
        """The value of the ``job`` label."""
        return self._items[0][1]

    @property
    def labels(self) -> dict[str, str]:
        """All grouping labels, ``job`` first, as a new dict."""
        return dict(self._items)

    def with_labels(self, /, **labels: object) -> GroupingKey:
        """This key with labels added or replaced."""
        return GroupingKey(self.job, {**dict(self._items[1:]), **labels})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a GroupingKey is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a GroupingKey is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, GroupingKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"GroupingKey({self.job!r}, {dict(self._items[1:])!r})"

    def __str__(self) -> str:
        """As PromQL writes it: ``{job="backup",instance="db1"}``."""
        quoted = (
            v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for _, v in self._items
        )
        return (
            "{"
            + ",".join(f'{n}="{v}"' for (n, _), v in zip(self._items, quoted, strict=True))
            + "}"
        )

    def __reduce__(self) -> tuple[type[GroupingKey], tuple[str, dict[str, str]]]:
        return GroupingKey, (self.job, dict(self._items[1:]))

    _items: tuple[tuple[str, str], ...]


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidGroupingKeyError(
            f"the grouping label name {name!r} is not a string", label=str(name)
        )
    # A gateway with --push.enable-utf8-names decodes U__ names, others keep them: both must do.
    plain = _decode_u(name)
    if plain == "job":
        raise InvalidGroupingKeyError(
            f"the grouping key names {name!r} beside the job; pass it as job= only", label=name
        )
    if plain is None or plain.startswith("__") or not _LABEL_NAME.match(name):
        raise InvalidGroupingKeyError(
            f"the grouping label name {name!r} is not one a Pushgateway accepts; use letters,"
            " digits and underscores, no leading digit and no leading '__'",
            label=name,
        )
    return name


def _decode_u(name: str) -> str | None:
    """Undo the ``U__`` escaping of UTF-8 names, None where a gateway could not.

    https://github.com/prometheus/proposals/blob/main/proposals/0028-utf8.md#text-escaping
    """
    if not name.startswith("U__"):
        return name
    body, at, out = name[3:], 0, []
    while at < len(body):
        if body[at] != "_":
            out.append(body[at])
            at += 1
        elif match := _ESCAPED_RUNE.match(body, at):
            code = 0x5F if match[1] else int(match[2], 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                return None
            out.append(chr(code))
            at = match.end()
        else:
            return None
    return "".join(out) or None


def _checked_value(name: str, value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        # An invalid value would stay at the gateway and break every scrape (seen on 1.11.2).
        raise InvalidGroupingKeyError(
            f"the grouping label {name} has the value {text!r}, which is not valid Unicode: it"
            " holds a lone surrogate, most often from a file name or argument decoded with"
            " 'surrogateescape'; decode it with errors='replace'",
            label=name,
            value=text,
        ) from None
    if name == "instance" and not text:
        # Next to the same group without instance it breaks every scrape and every other push, until
        # it is deleted (seen on 1.5.1 and 1.11.2).
        raise InvalidGroupingKeyError(
            "the grouping label instance is empty; leave it out: the gateway then sets it to ''",
            label=name,
            value=text,
        )
    return text


def _refuse_twins(items: list[tuple[str, str]]) -> None:
    seen: dict[str | None, str] = {}
    for name, _ in items:
        other = seen.setdefault(_decode_u(name), name)
        if other != name:
            raise InvalidGroupingKeyError(
                f"the grouping labels {other!r} and {name!r} are the same name to a gateway with"
                " UTF-8 names; keep one",
                label=name,
            )


def _component(name: str, value: str) -> str:
    # '.' and '..' would be cleaned out of the path: the push would land on the parent group.
    if "/" in value or " " in value or value in ("", ".", ".."):
        encoded = base64.urlsafe_b64encode(value.encode()).decode() or "="
        return f"{name}@base64/{encoded}"
    return f"{name}/{quote_plus(value)}"


def instance_ip_grouping_key() -> dict[str, str]:
    """``{'instance': <this host's IP>}``, as prometheus_client computes it.

    On Linux that is 127.0.0.1, on macOS the address of the outgoing interface.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a UDP socket sends nothing; it only chooses the local address.
        probe.connect(("10.255.255.255", 1) if sys.platform == "darwin" else ("localhost", 0))
        return {"instance": probe.getsockname()[0]}
