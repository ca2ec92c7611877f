"""One push, while something waits or where it fails. Enters: a request. Leaves: the request, sent;
a note of what became of it, where that matters; what kept it from arriving, raised.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from ..errors import is_permanent
from ._claims import claimed
from ._failures import mark_kept, told
from ._notes import delivered, failed, left_over, maybe_done
from ._spool import is_spooling, packed
from ._store import group_text
from ._values import Change, Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._book import Book
    from ._claims import Claim
    from ._push import Push

__all__ = ("keep_failed", "send_heartbeat", "send_in_order")


def send_in_order(book: Book, push: Push) -> None:
    """Send it, so that nothing that waits for its group is delivered over it.

    Raises what kept it from arriving, as Outbox.send does.
    """
    with _claimed(book, push) as (is_needed, claim):
        # Until here somebody may have delivered what is older: that must not look newer than this.
        push = push._replace(begun=time.time())
        note = Note(push.gateway.url, push.key.labels, push.change)
        if is_needed and claim is None and book.record([note]):
            text = "another process of this host is delivering what waits for this group"
            raise told(text, note.url, method=push.method, group=note.labels)
        if claim is not None and book.record(left_over(claim)):
            # For the next one to know, if we are killed once the gateway has taken this: what waits
            # is older than it.
            with suppress(OSError):
                claim.note(packed([note]))
        is_over = False
        try:
            push.send(push.ends.for_sending())
            is_over = not is_needed or book.record([delivered(note)])
        except OSError as error:
            is_over = keep_failed(book, push, error) or is_permanent(error)
            raise
        except Exception:  # it is not the network's fault, and nothing was sent
            is_over = True
            raise
        finally:
            if claim is not None and is_over:
                claim.settle()


def keep_failed(book: Book, push: Push, error: OSError) -> bool:
    """Whether the push that failed with ``error`` waits now, which is noted on the error."""
    change = push.change
    if is_permanent(error) or change.is_heartbeat:
        return False
    is_kept = book.record([failed(Note(push.gateway.url, push.key.labels, change), error)])
    mark_kept(error, kept=is_kept)
    return is_kept


def send_heartbeat(book: Book, push: Push) -> None:
    """Send a POST of nothing, before what waits: a group without metrics may be its work."""
    book.record([maybe_done(push.gateway.url, push.key.labels, Change("PUT", {}, 0.0))])
    push.send(push.ends.left())


@contextmanager
def _claimed(book: Book, push: Push) -> Iterator[tuple[bool, Claim | None]]:
    """Claim the group: whether something waits for it, and the claim if nobody else has it."""
    url, labels = push.gateway.url, push.key.labels
    with ExitStack() as stack:

        def claim() -> tuple[bool, Claim | None]:
            if not is_spooling(book.path):
                with book.reading() as store:
                    if not store.waits(url, labels):
                        return False, None
            return True, stack.enter_context(claimed(book.path, group_text(url, labels)))

        nothing: tuple[bool, Claim | None] = (False, None)
        yield book.tried(claim, otherwise=nothing)
