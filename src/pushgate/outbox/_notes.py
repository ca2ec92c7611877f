"""Notes of what becomes of a change. Enters: a request, its error, or what a killed process left.
Leaves: notes for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import may_have_arrived
from ._failures import describe
from ._families import split
from ._spool import unpacked
from ._values import Change, Note
from .rule import fingerprints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._claims import Claim

__all__ = ("change_of", "delivered", "failed", "left_over", "maybe_done", "on_its_way")


def change_of(method: str, body: bytes, at: float, content_type: str) -> Change:
    """A request as a change. ``at``, in Unix seconds, is when the sending of it began."""
    kind = "protobuf" if "protobuf" in content_type else "text"
    return Change(method, split(body, kind) if method != "DELETE" else {}, at, kind)


def failed(note: Note, error: Exception) -> Note:
    """It was sent, and failed."""
    return note._replace(
        error=describe(error), unanswered=_sent(note) if may_have_arrived(error) else ()
    )


def delivered(note: Note) -> Note:
    """The gateway took it. What came meanwhile is not older than this, whatever time that has."""
    return note._replace(delivered=True, unanswered=_sent(note))


def maybe_done(url: str, labels: Mapping[str, str], change: Change) -> Note:
    """The gateway may have done this, or may do it yet; it is not to be kept."""
    return on_its_way(url, labels, _sent(Note(url, labels, change)))


def on_its_way(
    url: str, labels: Mapping[str, str], fingerprints: tuple[tuple[str, str], ...]
) -> Note:
    """This is being sent of what is kept already."""
    return Note(url, labels, Change("POST", {}, 0.0), unanswered=fingerprints)


def left_over(claim: Claim) -> list[Note]:
    """What was on its way when the process that had the claim before was killed."""
    try:
        notes = unpacked(claim.left) if claim.left else []
    except ValueError:  # it was killed while it wrote that, and so before it sent anything
        return []
    text = "its process was killed while it sent this"
    return [
        note._replace(error=text, unanswered=(*note.unanswered, *_sent(note))) for note in notes
    ]


def _sent(note: Note) -> tuple[tuple[str, str], ...]:
    return tuple(fingerprints(note.change.method, note.change.kept, note.labels))
