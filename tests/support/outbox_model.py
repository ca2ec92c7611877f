"""What a Pushgateway and an outbox together should hold of one group: a specification.

In: changes (PUT, POST, DELETE) and what their senders were told of each. Out: every state that the
group may then be in, which what is seen of the real gateway narrows. Knows nothing of the outbox's
code: only what PUT, POST and DELETE mean, and what "delivered" and "kept" promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Families = frozenset[tuple[str, float]]  # names, each with the number that its samples are made of
NO_FAMILIES: Families = frozenset()


class Change(NamedTuple):
    """A request about one group."""

    method: str  # PUT, POST or DELETE
    families: Families = NO_FAMILIES

    @property
    def is_heartbeat(self) -> bool:
        """It is never kept: delivered later, it would tell nothing."""
        return self.method == "POST" and not self.families

    def __repr__(self) -> str:
        return " ".join([self.method, *(f"{name}={n:g}" for name, n in sorted(self.families))])


def over(old: Families, new: Families) -> Families:
    """``old`` with each family of ``new`` in place of the one of that name."""
    names = {name for name, _ in new}
    return frozenset(item for item in old if item[0] not in names) | new


def applied(held: Families | None, change: Change) -> Families | None:
    """What a gateway holds after the change; None is no group."""
    if change.method == "DELETE":
        return None
    return change.families if change.method == "PUT" else over(held or NO_FAMILIES, change.families)


def merged(waits: Change | None, change: Change) -> Change | None:
    """The one change that stands for what waits and what then comes."""
    if change.is_heartbeat:
        return waits
    if waits is None or change.method != "POST":
        return change
    # What is posted after a DELETE makes the group anew.
    method = "POST" if waits.method == "POST" else "PUT"
    return Change(method, over(waits.families, change.families))


class State(NamedTuple):
    """What the gateway holds, what it would come back with if it lost its memory, what waits, and
    the requests which nobody waits for any more but which the gateway may yet perform."""

    held: Families | None = None
    saved: Families | None = None
    waits: Change | None = None
    late: frozenset[Change] = frozenset()

    def __repr__(self) -> str:
        parts = [f"held {_show(self.held)}", f"saved {_show(self.saved)}", f"waits {self.waits}"]
        return f"<{', '.join(parts)}, late {self.late}>" if self.late else f"<{', '.join(parts)}>"


States = frozenset[State]
START: States = frozenset([State()])


def arrived(states: States, change: Change) -> States:
    """The sender was told that it was delivered: after all that waited for the group, or before it,
    as what waits is older and must then not undo it."""
    found = set()
    for state in states:
        after = applied(_flushed(state).held, change)
        found.add(state._replace(held=after, waits=None))
        before = applied(state.held, change)
        found.add(state._replace(held=before, waits=_left(state.waits, change)))
    return frozenset(found)


def arrived_unnoted(states: States, change: Change) -> States:
    """The sender was told that it was delivered, but the outbox's disk may not have taken that: it
    may wait as well; and what waited before is later held against it by time alone. Then it may be
    left out, or what nothing newer is held of is posted. Of what a DELETE took, nothing is held."""
    found = {*arrived(states, change), *kept(states, change, late=False, ran=True)}
    for state in states:
        held = applied(state.held, change)
        found.add(state._replace(held=held, waits=None))
        if state.waits is not None:
            names = {name for name, _ in change.families}
            rest = frozenset(item for item in state.waits.families if item[0] not in names)
            found.add(state._replace(held=held, waits=Change("POST", rest) if rest else None))
    return frozenset(found)


def _left(waits: Change | None, change: Change) -> Change | None:
    """What still waits once the gateway has taken ``change`` alone."""
    if waits is None or change.method != "POST":
        return None
    if waits.method != "POST":
        return merged(waits, change)  # without it, the PUT or DELETE would undo it
    names = {name for name, _ in change.families}
    left = frozenset(item for item in waits.families if item[0] not in names)
    return waits._replace(families=left) if left else None


def kept(states: States, change: Change, *, late: bool, ran: bool) -> States:
    """The sender was told that it waits. ``ran``: the gateway may have performed it all the same,
    ``late``: it may yet do so; the change alone, or with what waited before."""
    found = set()
    for state in states:
        waits = merged(state.waits, change)
        sent = frozenset({change, waits} - {None})
        kept = state._replace(waits=waits, late=state.late | sent if late else state.late)
        found.add(kept)
        if ran:
            found |= {kept._replace(held=applied(state.held, one)) for one in sent}
    return frozenset(found)


def cut_off(states: States, change: Change) -> States:
    """The sender was killed in the middle: before it, on disk only, delivered only, or both."""
    return frozenset(
        {
            *states,
            *kept(states, change, late=False, ran=True),
            *arrived(states, change),
        }
    )


def perhaps_flushed(states: States) -> States:
    """Somebody had the occasion to deliver what waits."""
    return states | flushed(states)


def flushed(states: States) -> States:
    return frozenset(map(_flushed, states))


def forgotten(states: States) -> States:
    """The gateway was killed: it is back at what it had saved."""
    return frozenset(state._replace(held=state.saved, late=frozenset()) for state in states)


def saved(states: States) -> States:
    """The gateway was asked to end, and saved what it holds if it ``persists``."""
    return frozenset(state._replace(saved=state.held, late=frozenset()) for state in states)


def settled(states: States) -> States:
    """The gateway has performed the late requests: any of them, in any order."""
    return frozenset(
        state._replace(held=held, late=frozenset()) for state in states for held in _ends(state)
    )


def seen(states: States, held: Families | None) -> States:
    """Those that fit what the gateway shows."""
    return frozenset(state for state in states if state.held == held)


def nothing_waits(states: States) -> States:
    """Those that fit an outbox which says that it is empty."""
    return frozenset(state for state in states if state.waits is None)


def _flushed(state: State) -> State:
    if state.waits is None:
        return state
    return state._replace(held=applied(state.held, state.waits), waits=None)


def _ends(state: State) -> Iterator[Families | None]:
    """What the gateway holds once any of the late requests were performed, in any order."""
    found = {(state.held, state.late)}
    todo = list(found)
    while todo:
        held, late = todo.pop()
        yield held
        after = {(applied(held, change), late - {change}) for change in late}
        todo += after - found
        found |= after


def _show(held: Families | None) -> str:
    return "nothing" if held is None else _listed(held)


def _listed(families: Iterable[tuple[str, float]]) -> str:
    return "{" + " ".join(f"{name}={number:g}" for name, number in sorted(families)) + "}"
