"""What the file holds, in words of SQL. Enters: entries and claims. Leaves: the same, later.

Every function is called inside one of its ``transaction`` blocks.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from ._values import Entry, Kept, WaitingGroup, after_delivery, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._values import Note

__all__ = ("Row", "Store", "group_text", "labels_text", "transaction")

_LONGEST_PAUSE = 600.0  # seconds; one that ends later is of a clock that was set back
_UNANSWERED = 16  # fingerprints of one family


class Row(NamedTuple):
    """A group of which something waits."""

    id: int
    url: str
    labels: dict[str, str]
    version: int
    entry: Entry
    since: float
    tries: int
    last_error: str | None

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


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool = True) -> Iterator[Store]:
    """A Store whose changes are made when the block ends, all or none."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield Store(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def labels_text(labels: Mapping[str, str]) -> str:
    """The labels of a group as the text that it is known by."""
    return json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def group_text(url: str, labels: Mapping[str, str]) -> str:
    """A gateway's group as a text."""
    return f"{url} {labels_text(labels)}"


class Store:
    """The tables, in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection.execute
        self._many = connection.executemany

    def find(self, url: str, labels: Mapping[str, str]) -> Row | None:
        """What waits for this group."""
        return self._row("url = ? AND labels = ?", url, labels_text(labels))

    def get(self, group_id: int) -> Row | None:
        """What waits for the group of this number."""
        return self._row("id = ?", group_id)

    def ids(self, url: str | None = None) -> list[int]:
        """The groups that wait for this gateway, or for any, the longest-waiting first."""
        where, values = ("", ()) if url is None else (" WHERE url = ?", (url,))
        return [n for (n,) in self._sql(f"SELECT id FROM groups{where} ORDER BY since, id", values)]  # noqa: S608 - no text of others

    def waits(self, url: str, labels: Mapping[str, str]) -> bool:
        """Whether something waits for this group."""
        query = "SELECT 1 FROM groups WHERE url = ? AND labels = ?"
        return self._sql(query, (url, labels_text(labels))).fetchone() is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for any gateway."""
        return self._sql("SELECT 1 FROM groups LIMIT 1").fetchone() is None

    def count(self, url: str) -> int:
        """How many groups wait for this gateway."""
        found: int = self._sql("SELECT count(*) FROM groups WHERE url = ?", (url,)).fetchone()[0]
        return found

    def labels(self, url: str) -> set[str]:
        """The groups that wait for this gateway, by their ``labels_text``."""
        return {text for (text,) in self._sql("SELECT labels FROM groups WHERE url = ?", (url,))}

    def add(self, url: str, labels: Mapping[str, str], entry: Entry, since: float) -> int:
        """A group for which nothing waited; its number."""
        cursor = self._sql(
            "INSERT INTO groups (url, labels, version, base, base_at, since)"
            " VALUES (?, ?, 0, ?, ?, ?)",
            (url, labels_text(labels), entry.base, entry.base_at, since),
        )
        group_id = cursor.lastrowid or 0
        self._put_families(group_id, entry.families)
        return group_id

    def replace(self, row: Row, entry: Entry) -> None:
        """Now ``entry`` waits for the group of ``row``; where it is empty, nothing does."""
        if entry == row.entry:
            return
        if entry.is_empty:
            self.forget(row)
            return
        old, new = row.entry.families, entry.families
        self._sql(
            "UPDATE groups SET base = ?, base_at = ?, version = version + 1 WHERE id = ?",
            (entry.base, entry.base_at, row.id),
        )
        gone = [(row.id, name) for name in old if name not in new]
        self._many("DELETE FROM families WHERE group_id = ? AND name = ?", gone)
        self._put_families(row.id, {n: kept for n, kept in new.items() if old.get(n) != kept})

    def forget(self, row: Row) -> None:
        """Nothing waits for the group of ``row`` any more."""
        self._sql("DELETE FROM families WHERE group_id = ?", (row.id,))
        self._sql("DELETE FROM unanswered WHERE group_id = ?", (row.id,))
        self._sql("DELETE FROM groups WHERE id = ?", (row.id,))

    def apply(self, note: Note, now: float) -> None:
        """Do what the note says."""
        row, change = self.find(note.url, note.labels), note.change
        if note.delivered:
            if row is not None:
                left = after_delivery(row.entry, change, now)
                self.replace(row, left)
                if not left.is_empty:
                    self.add_unanswered(row.id, note.unanswered)
            return
        if row is None:
            if change.is_heartbeat:
                return
            entry = merged(Entry(), change, now)
            group_id = self.add(note.url, note.labels, entry, min(change.at, now))
        else:
            group_id = row.id
            if not change.is_heartbeat:
                self.replace(row, merged(row.entry, change, now))
        if note.error is not None:
            self.failed(group_id, note.error)
        self.add_unanswered(group_id, note.unanswered)

    def _put_families(self, group_id: int, families: Mapping[str, Kept]) -> None:
        rows = [(group_id, name, k.kind, k.body, k.at) for name, k in families.items()]
        self._many("INSERT OR REPLACE INTO families VALUES (?, ?, ?, ?, ?)", rows)

    def failed(self, group_id: int, error: str) -> None:
        """It could not be delivered."""
        self._sql(
            "UPDATE groups SET tries = tries + 1, last_error = ? WHERE id = ?", (error, group_id)
        )

    def add_unanswered(self, group_id: int, fingerprints: Iterable[tuple[str, str]]) -> None:
        """This was sent for it, family by family, and nobody knows whether it arrived."""
        for name, fingerprint in fingerprints:
            self._sql(
                "INSERT INTO unanswered (group_id, name, fingerprint) VALUES (?, ?, ?)",
                (group_id, name, fingerprint),
            )
            self._sql(
                "DELETE FROM unanswered WHERE group_id = ? AND name = ? AND id NOT IN (SELECT id"
                " FROM unanswered WHERE group_id = ? AND name = ? ORDER BY id DESC LIMIT ?)",
                (group_id, name, group_id, name, _UNANSWERED),
            )

    def unanswered(self, group_id: int) -> set[tuple[str, str]]:
        """What was given to ``add_unanswered``."""
        query = "SELECT name, fingerprint FROM unanswered WHERE group_id = ?"
        return set(self._sql(query, (group_id,)))

    def pause(self, url: str, until: float) -> None:
        """No flush for this gateway before that time, in Unix seconds, unless it is asked for."""
        self._sql("INSERT OR REPLACE INTO pauses VALUES (?, ?)", (url, until))

    def pauses(self, url: str, now: float) -> bool:
        """Whether it is not yet time for one."""
        found = self._sql("SELECT until FROM pauses WHERE url = ?", (url,)).fetchone()
        return found is not None and now < found[0] <= now + _LONGEST_PAUSE

    def _row(self, where: str, *values: object) -> Row | None:
        found = self._sql(
            "SELECT id, url, labels, version, base, base_at, since, tries, last_error"  # noqa: S608 - no text of others
            f" FROM groups WHERE {where}",
            values,
        ).fetchone()
        if found is None:
            return None
        group_id, url, labels, version, base, base_at, *rest = found
        families = {
            name: Kept(body, at, kind)
            for name, kind, body, at in self._sql(
                "SELECT name, kind, body, at FROM families WHERE group_id = ? ORDER BY name",
                (group_id,),
            )
        }
        return Row(
            group_id, url, json.loads(labels), version, Entry(base, base_at, families), *rest
        )
