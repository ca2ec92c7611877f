"""What waits for one group of one gateway, as a value and as the bytes of a file."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.grouping_key import GroupingKey
from ..protocol.names import underscored_label
from .contents import StoredFamily
from .entry import Entry, merged, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUFFIX = ".json"
_HEAD = b"pushgate outbox "
_VERSION = b"1"
_UNANSWERED = 32  # fingerprints of one family that are remembered

Fingerprint = tuple[str, str]  # a family's name, and a hash of its content


class OtherVersionError(Exception):
    """A file was written by another version of pushgate, which may be the newer one."""


class WaitingGroup(NamedTuple):
    """A group of which something waits for the gateway ``url``.

    ``method`` is the request that would be sent, with the ``families`` of these names. ``since``,
    in Unix seconds, is when the first of it was tried; ``tries`` is how often it was tried since.
    """

    url: str
    labels: dict[str, str]
    method: str
    families: tuple[str, ...]
    since: float
    tries: int
    last_error: str | None


class Flushed(NamedTuple):
    """The result of a flush. ``delivered`` and ``left`` count groups.

    ``dropped`` has a line for each group of which something was not sent because the gateway holds
    something newer, or refused it for good. ``error`` is the reason why the flush ended early.
    """

    delivered: int = 0
    dropped: tuple[str, ...] = ()
    left: int = 0
    error: Exception | None = None


class Record(NamedTuple):
    """``entry`` waits; all that is stored for a group is joined to one record.

    ``unanswered`` are fingerprints of families that were or are being sent and may arrive late: the
    gateway may hold them, and they are older than ``entry`` all the same. ``since`` is in Unix
    seconds.
    """

    url: str
    labels: Mapping[str, str]
    since: float
    entry: Entry = Entry()
    unanswered: tuple[Fingerprint, ...] = ()
    tries: int = 0
    last_error: str | None = None

    @property
    def stem(self) -> str:
        """The beginning of the names of its files."""
        return file_stem(self.url, self.labels)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.entry.is_empty

    def joined(self, other: Record, now: float) -> Record:
        """The record of all that the two say. To join one that is in it already changes nothing.

        What waited and is replaced may be on its way at this moment, as may what replaces it.
        """
        entry = merged(self.entry, other.entry, now)
        after = set(entry.fingerprints())
        before = (*self.entry.fingerprints(), *other.entry.fingerprints())
        gone = (found for found in before if found not in after)
        return self.expecting((*gone, *other.unanswered))._replace(
            entry=entry,
            since=min(self.since, other.since),
            tries=self.tries + other.tries,
            last_error=other.last_error or self.last_error,
        )

    def delivered(self, push: Entry, now: float) -> Record:
        """The record once the gateway has taken ``push``.

        What came meanwhile is not older than this one, whatever time the gateway notes.
        """
        record = self._replace(entry=without(self.entry, push, now))
        return record.expecting(push.fingerprints())

    def failed(self, error: str) -> Record:
        """The record once a try to deliver it has failed."""
        return self._replace(tries=self.tries + 1, last_error=error)

    def expecting(self, sent: Iterable[Fingerprint]) -> Record:
        """The record once these are, or may be, on their way to the gateway."""
        found = dict.fromkeys([*self.unanswered, *sent])  # without duplicates, in order
        counts: dict[str, int] = {}
        kept = []
        for name, fingerprint in reversed(found):
            counts[name] = counts.get(name, 0) + 1
            if counts[name] <= _UNANSWERED:
                kept.append((name, fingerprint))
        return self._replace(unanswered=tuple(reversed(kept)))

    def key(self) -> GroupingKey:
        """The group."""
        labels = dict(self.labels)
        utf8_names = any(underscored_label(name) != name for name in labels)
        return GroupingKey(labels.pop("job"), labels, utf8_names=utf8_names)

    def shown(self) -> WaitingGroup:
        """For a person."""
        return WaitingGroup(
            self.url,
            {"job": self.labels["job"], **self.labels},
            self.entry.method,
            tuple(sorted(self.entry.families)),
            self.since,
            self.tries,
            self.last_error,
        )

    def to_bytes(self) -> bytes:
        """The file's content."""
        body = json.dumps(self._asdict(), separators=(",", ":"), default=dict).encode()
        return b"%b%b %b\n%b\n" % (_HEAD, _VERSION, _checksum(_VERSION, body), body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Record | None:
        """None for a file that is broken. Raises OtherVersionError."""
        head, _, body = data.partition(b"\n")
        body = body.removesuffix(b"\n")
        version, _, checksum = head.removeprefix(_HEAD).partition(b" ")
        if not head.startswith(_HEAD) or checksum != _checksum(version, body):
            return None
        if version != _VERSION:
            raise OtherVersionError
        try:
            record = cls._from_values(json.loads(body))
            return record if record.stem else None  # a stem needs a URL and labels
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> Record:
        base, base_at, families = values.pop("entry")
        stored = {name: StoredFamily(*family) for name, family in families.items()}
        unanswered = tuple((name, found) for name, found in values.pop("unanswered"))
        return cls(**values, entry=Entry(base, base_at, stored), unanswered=unanswered)


def file_stem(url: str, labels: Mapping[str, str]) -> str:
    """The beginning of the names of the files of this gateway and group, up to the first dot."""
    return f"{url_prefix(url)}{_hash(labels_text(labels), 16)}"


def url_prefix(url: str) -> str:
    """The beginning of the names of all files of this gateway."""
    return f"{_hash(url, 6)}-"


def labels_text(labels: Mapping[str, str]) -> str:
    """A group's labels as a text by which it is known."""
    return json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _hash(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _checksum(version: bytes, body: bytes) -> bytes:
    return blake2b(version + body, digest_size=8).hexdigest().encode()
