"""The grouping key: which group of a Pushgateway a push belongs to, and its URL path.

https://github.com/prometheus/pushgateway/blob/master/README.md#url
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from ..errors import InvalidGroupingKeyError
from .names import from_path, is_unicode, selector, text_of, to_path, underscored_label

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PATH_BYTES = 900_000  # Go's default header limit: 900 kB observed to work, 1.1 MB to give 431


class GroupingKey:
    """A group's identity: the job and further labels. Immutable, hashable, valid by construction.

    ``job`` and the label values may be any text, also empty for labels; label values are converted
    with ``str``. Label names are ``[a-zA-Z_][a-zA-Z0-9_]*``, not ``job`` and
    without a leading ``__``; with ``utf8_names``, for a gateway that runs with
    ``--push.enable-utf8-names``, any text without that beginning, as long as no two are the same
    once each other character is an underscore, which is how an older Prometheus reads them. Raises
    InvalidGroupingKeyError, a ValueError.
    """

    __slots__ = ("_items", "_path", "_utf8_names")

    def __init__(
        self, job: str, labels: Mapping[str, object] | None = None, *, utf8_names: bool = False
    ) -> None:
        if not isinstance(job, str):  # None of an unset variable, bytes, a GroupingKey
            raise InvalidGroupingKeyError(
                f"the job name must be a string, not {type(job).__name__}: {job!r}", label="job"
            )
        items = [("job", _checked_value("job", job))]
        if labels is not None and not hasattr(labels, "keys"):
            raise _no_mapping(labels)
        if labels:
            for name in sorted([_checked_name(name, utf8_names=utf8_names) for name in labels]):
                items.append((name, _checked_value(name, labels[name])))
        if not items[0][1]:
            raise InvalidGroupingKeyError(
                "the job name is empty; a Pushgateway needs a non-empty one", label="job", value=""
            )
        if len(items) > 1:
            _refuse_twins(items, utf8_names=utf8_names)
        written = [(to_path(name), value) for name, value in items] if utf8_names else items
        path = "/metrics" + "".join([f"/{_component(name, value)}" for name, value in written])
        if len(path) > MAX_PATH_BYTES:
            name, value = max(items, key=lambda item: len(item[1]))
            raise InvalidGroupingKeyError(
                f"the grouping key makes a URL of {len(path)} bytes, over the {MAX_PATH_BYTES} a"
                f" Pushgateway accepts; shorten the value of {name!r}",
                label=name,
                value=value,
            )
        self._items = tuple(items)
        self._path = path
        self._utf8_names = utf8_names

    @property
    def path(self) -> str:
        """The URL path of the group, ``/metrics/job/…``, labels in code point order."""
        return self._path

    @property
    def utf8_names(self) -> bool:
        """Whether the labels' names may be any text."""
        return self._utf8_names

    @property
    def job(self) -> str:
        """The value of the ``job`` label."""
        return self._items[0][1]

    @property
    def labels(self) -> dict[str, str]:
        """All grouping labels, ``job`` first, as a new dict."""
        return dict(self._items)

    @property
    def needs_utf8_names(self) -> bool:
        """Whether only a gateway with ``--push.enable-utf8-names`` reads the labels' names."""
        return self.utf8_names and any(to_path(name) != name for name, _ in self._items)

    def with_labels(self, /, **labels: object) -> GroupingKey:
        """This key with labels added or replaced."""
        return joined_key(self, labels, utf8_names=self.utf8_names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupingKey):
            return NotImplemented
        return self._items == other._items and self.path == other.path

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        utf8_names = ", utf8_names=True" if self.utf8_names else ""
        return f"GroupingKey({self.job!r}, {dict(self._items[1:])!r}{utf8_names})"

    def __str__(self) -> str:
        """As PromQL writes it: ``{job="backup",instance="db1"}``."""
        return selector(self.labels)


def joined_key(
    job: str | GroupingKey, labels: Mapping[str, object] | None, *, utf8_names: bool
) -> GroupingKey:
    """The key of a job and labels, or a key with labels added or replaced."""
    if not isinstance(job, GroupingKey):
        return GroupingKey(job, labels, utf8_names=utf8_names)
    if not labels:
        return job
    if not hasattr(labels, "keys"):
        raise _no_mapping(labels)
    utf8_names |= job.utf8_names
    own: dict[str, object] = {}
    for name, value in job.labels.items():
        if name != "job":
            plain = from_path(name) if utf8_names and not job.utf8_names else name
            own[plain or name] = value
    return GroupingKey(job.job, {**own, **labels}, utf8_names=utf8_names)


def _no_mapping(labels: object) -> TypeError:
    return TypeError(
        "the grouping key is a mapping of label names to values, such as {'instance': 'db1'}, and"
        f" not a {type(labels).__name__}"
    )


def _checked_name(name: object, *, utf8_names: bool) -> str:
    if not isinstance(name, str):
        raise InvalidGroupingKeyError(
            f"the grouping label name {name!r} is not a string", label=str(name)
        )
    # A gateway with --push.enable-utf8-names decodes U__ names, others keep them: both must do.
    plain = name if utf8_names else from_path(name)
    problem = ""
    if plain == "job":
        problem = "is the job's, which is given beside it; leave it out"
    elif utf8_names:
        problem = _problem_of_utf8_name(name)
    elif not plain or plain.startswith("__") or underscored_label(name) != name:
        problem = (
            "is not one a Pushgateway accepts; use letters, digits and underscores, no leading"
            " digit and no leading '__'"
        )
        if name and not name.startswith(("__", "U__")):
            problem += "; or use utf8_names (--utf8-names), if the gateway takes them"
    if problem:
        raise InvalidGroupingKeyError(f"the grouping label name {name!r} {problem}", label=name)
    return name


def _problem_of_utf8_name(name: str) -> str:
    if not name:
        return "is empty; name it"
    if not is_unicode(name):
        return "is not valid Unicode: it holds a lone surrogate; decode it with errors='replace'"
    # A group with such a label breaks every scrape and other pushes (seen on 1.11.2); the second is
    # the metric's name to a Prometheus without UTF-8 names.
    if name.startswith("__") or underscored_label(name) == "__name__":
        return "begins with '__', or is read as '__name__'; rename it"
    return ""


def _checked_value(name: str, value: object) -> str:
    text = text_of(value) if name == "job" else str(value)  # as prometheus_client, for an Enum
    if not is_unicode(text):
        # An invalid value would stay at the gateway and break every scrape (seen on 1.11.2).
        raise InvalidGroupingKeyError(
            f"the grouping label {name} has the value {text!r}, which is not valid Unicode: it"
            " holds a lone surrogate, most often from a file name or argument decoded with"
            " 'surrogateescape'; decode it with errors='replace'",
            label=name,
            value=text,
        )
    if name == "instance" and not text:
        # Next to the same group without instance it breaks every scrape and every other push, until
        # it is deleted (seen on 1.5.1 and 1.11.2).
        raise InvalidGroupingKeyError(
            "the grouping label instance is empty; leave it out: the gateway then sets it to ''",
            label=name,
            value=text,
        )
    return text


def _refuse_twins(items: list[tuple[str, str]], *, utf8_names: bool) -> None:
    seen: dict[str | None, str] = {}
    for name, _ in items:
        other = seen.setdefault(underscored_label(name) if utf8_names else from_path(name), name)
        if other != name:
            # Of the second kind: a Prometheus that asks for underscores takes nothing at all of a
            # gateway that holds both (seen on 2.42).
            reader = "Prometheus without" if utf8_names else "gateway with"
            raise InvalidGroupingKeyError(
                f"the grouping labels {other!r} and {name!r} are the same name to a {reader}"
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
    import socket
    import sys

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a UDP socket sends nothing; it only chooses the local address.
        probe.connect(("10.255.255.255", 1) if sys.platform == "darwin" else ("localhost", 0))
        return {"instance": probe.getsockname()[0]}
