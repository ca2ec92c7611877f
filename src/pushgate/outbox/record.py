"""All that one file of the outbox says about one group of one gateway, as a value and as bytes."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from .entry import Entry, StoredChange, StoredFamily, fingerprints, merged, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = (
    "BrokenFileError",
    "Flushed",
    "OtherVersionError",
    "Record",
    "WaitingGroup",
    "file_name",
    "labels_text",
    "url_prefix",
)

SUFFIX = ".json"
_HEAD = b"pushgate outbox "
_VERSION = b"1"
_UNANSWERED = 32  # fingerprints of one family that are remembered

Fingerprint = tuple[str, str]  # a family's name, and a hash of its content


class BrokenFileError(Exception):
    """The file is not as it was written."""


class OtherVersionError(Exception):
    """The file was written by another version of pushgate."""


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
    """``entry`` waits. ``ahead`` is a change that is being sent before it: written down first.

    ``unanswered`` are fingerprints of families that were or are being sent and may arrive late: the
    gateway may hold them, and they are older than ``entry`` all the same. ``since`` is in Unix
    seconds.
    """

    url: str
    labels: Mapping[str, str]
    since: float
    entry: Entry = Entry()
    ahead: StoredChange | None = None
    unanswered: tuple[Fingerprint, ...] = ()
    tries: int = 0
    last_error: str | None = None

    @property
    def file_name(self) -> str:
        """The name of the file that it is in."""
        return file_name(self.url, self.labels)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self.entry.is_empty and self.ahead is None

    def stored(self, change: StoredChange, now: float) -> Record:
        """The record once ``change`` waits too.

        What waited and is replaced may be on its way at this moment, as may ``change`` itself.
        """
        entry = merged(self.entry, change, now)
        before = [
            *fingerprints(self.entry.base, self.entry.families),
            *fingerprints(change.method, change.families),
        ]
        after = set(fingerprints(entry.base, entry.families))
        gone = (found for found in before if found not in after)
        return self._replace(entry=entry).expecting(gone)

    def recovered(self, now: float) -> Record:
        """The record once the sender of ``ahead`` was killed: nobody knows whether it arrived."""
        if self.ahead is None:
            return self
        text = "its process was killed while it sent this"
        record = self._replace(ahead=None).stored(self.ahead, now)
        return record.failed(text)

    def delivered(self, change: StoredChange, now: float) -> Record:
        """The record once the gateway has taken ``change``, which was ``ahead``.

        A change that came meanwhile is not older than this one, whatever time the gateway notes.
        """
        record = self.given_up(change)._replace(entry=without(self.entry, change, now))
        return record.expecting(fingerprints(change.method, change.families))

    def given_up(self, change: StoredChange) -> Record:
        """The record once ``change`` is no longer ``ahead``."""
        is_ahead = self.ahead is not None and self.ahead.at == change.at
        return self._replace(ahead=None) if is_ahead else self

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
    def from_bytes(cls, data: bytes) -> Record:
        """Raises BrokenFileError, OtherVersionError."""
        head, _, body = data.partition(b"\n")
        body = body.removesuffix(b"\n")
        if not head.startswith(_HEAD) or len(words := head[len(_HEAD) :].split(b" ")) != 2:
            raise BrokenFileError
        version, checksum = words
        if checksum != _checksum(version, body):
            raise BrokenFileError
        if version != _VERSION:
            raise OtherVersionError
        try:
            return cls._from_values(json.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise BrokenFileError from error

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> Record:
        base, base_at, families = values.pop("entry")
        ahead = values.pop("ahead")
        if ahead is not None:
            method, sent, at = ahead
            ahead = StoredChange(method, _families(sent), at)
        unanswered = tuple((name, found) for name, found in values.pop("unanswered"))
        entry = Entry(base, base_at, _families(families))
        return cls(**values, entry=entry, ahead=ahead, unanswered=unanswered)


def file_name(url: str, labels: Mapping[str, str]) -> str:
    """The name of the file of this gateway and group."""
    return f"{url_prefix(url)}{_hash(labels_text(labels), 16)}{SUFFIX}"


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


def _families(values: Mapping[str, Any]) -> dict[str, StoredFamily]:
    return {name: StoredFamily(*stored) for name, stored in values.items()}
