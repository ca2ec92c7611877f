"""The rule by which something old is delivered, or not: it never overwrites a newer push.

It compares what waits for a group with what the gateway holds for it, and makes a :class:`Plan`:
the requests to make, and what is left out, with the reason. It is pure, but for comparing clocks.

The gateway is read before anything is sent that began before this call. Then, family by family:

1. What the gateway holds already, sample for sample, is not sent.
2. ``batch_job_*_timestamp_seconds`` of one sample without labels: the larger value wins.
3. Other ``batch_job_*`` families, where the entry and the gateway both say when a run ended
   (``last_completion``, ``last_skipped``, ``last_upstream_failed``, ``last_retry``) or, of an entry
   without an end, when it started: the later moment wins; of equal ones, the entry's.
4. What this host sent before, or may be sending, can arrive long after: what the gateway holds and
   is one of these is not newer, whatever its time.
5. All else by time: when the sending of what waits began, on this host's clock, against when the
   gateway took what it holds, on its own. The Date of one answer of the gateway, or of a proxy in
   front of it, tells how far the two clocks are apart, to about a second; clocks without a Date
   count as equal within a second. What is closer was most likely pushed by this host, just before:
   the entry counts as newer.

Of families that nothing is held of, all are sent. A group without any, pushed since, was emptied
since: nothing is sent.

A PUT that waits, and the same for a DELETE with families after it, is done as it is where nothing
that the group holds is newer than it. Where everything is newer, the group was replaced since: of
what the PUT had nothing is sent, of what was POSTed after it what is not older. Where some is
newer, what is not older is POSTed. A DELETE is done where nothing that the group holds is newer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..protocol.timestamps import METRIC_PREFIX, TIME_SUFFIX
from .contents import held_content
from .entry import EMPTIED
from .later_run import is_later_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..protocol.groups import Group, GroupFamily
    from .entry import Entry

    IsLater = Callable[[float, float], bool]


class Plan(NamedTuple):
    """What to send: ``method`` with the families of these names; None for no request.

    ``reason`` says what is not sent, and why; None where all is.
    """

    method: str | None
    names: tuple[str, ...] = ()
    reason: str | None = None


def unseen_plan(entry: Entry) -> Plan:
    """All of it, without looking at what the gateway holds."""
    return Plan(entry.method, tuple(entry.families))


def plan(
    entry: Entry,
    unanswered: Collection[tuple[str, str]],
    held: Group | None,
    grouping: Collection[str],
    is_later: IsLater,
) -> Plan:
    """By the rule above.

    ``unanswered`` has names and fingerprints of families that this host sent before. ``held`` is
    None where the gateway has no such group, ``grouping`` has the names of its labels.
    ``is_later(here, there)`` says whether a moment of the gateway's clock is later than one of
    ours; what it raises is passed on.
    """
    if held is None:
        return Plan(None) if entry.method == "DELETE" else unseen_plan(entry)
    comparison = _Comparison(entry, unanswered, held, grouping, is_later)
    if not held.families:
        return comparison.of_empty_group()
    return comparison.by_family() if entry.base is None else comparison.of_whole_group()


class _Comparison:
    """One entry and one group that the gateway holds."""

    def __init__(
        self,
        entry: Entry,
        unanswered: Collection[tuple[str, str]],
        held: Group,
        grouping: Collection[str],
        is_later: IsLater,
    ) -> None:
        self._entry = entry
        self._unanswered = unanswered
        self._held = held
        self._is_later = is_later
        self._mine = {name: stored.fingerprint for name, stored in entry.families.items()}
        self._theirs = {family.name: held_content(family, grouping) for family in held.families}
        self._times = {
            name: stored.value
            for name, stored in entry.families.items()
            if name.startswith(METRIC_PREFIX)
            and name.endswith(TIME_SUFFIX)
            and stored.value is not None
        }
        theirs = {n: value for n, (_, value) in self._theirs.items() if value is not None}
        self._is_run_newer = is_later_run(theirs, self._times)

    def of_empty_group(self) -> Plan:
        entry, emptied_at = self._entry, self._held.push_time
        if EMPTIED in self._unanswered:
            return unseen_plan(entry)
        if entry.base is not None and not self._is_later(entry.base_at, emptied_at):
            return unseen_plan(entry)
        older = {n for n, s in entry.families.items() if self._is_later(s.at, emptied_at)}
        if entry.base is None and not older:
            return unseen_plan(entry)
        send = tuple(name for name in entry.families if name not in older)
        at = max([entry.base_at, *(entry.families[name].at for name in older)])
        what = ", ".join(sorted(older)) or f"the {entry.base}"
        reason = f"{what} not sent: {_newer(emptied_at, 'that emptied it', at)}"
        return Plan("POST" if send else None, send, reason)

    def by_family(self, names: Collection[str] | None = None) -> Plan:
        """What is not older, by POST; of ``names`` only."""
        send, older = [], []
        for name, stored in self._entry.families.items():
            family = self._held.family(name)
            if names is not None and name not in names:
                older.append(name)
            elif family is None:
                send.append(name)
            elif self._theirs[name][0] == self._mine[name]:
                pass
            elif self._is_newer(family, stored.at):
                older.append(name)
            else:
                send.append(name)
        reason = f"{', '.join(sorted(older))} not sent: {self._why(older)}" if older else None
        return Plan("POST" if send else None, tuple(send), reason)

    def of_whole_group(self) -> Plan:
        entry = self._entry
        newer = [family for family in self._held.families if self._is_newer_than_base(family)]
        if not newer:
            held = {name: fingerprint for name, (fingerprint, _) in self._theirs.items()}
            if held == self._mine and entry.families:
                return Plan(None)
            return unseen_plan(entry)
        if entry.method == "DELETE":
            latest = max(family.pushed_at for family in newer)
            return Plan(None, (), f"the DELETE not sent: {_newer(latest, '', entry.base_at)}")
        if len(newer) == len(self._held.families):
            return self.by_family(
                [n for n, stored in entry.families.items() if stored.at > entry.base_at]
            )
        done = self.by_family()
        others = ", ".join(sorted(family.name for family in newer))
        merged = f"a {entry.base} merged into the group as a POST, for {others} in it is newer"
        return done._replace(reason=f"{done.reason}; {merged}" if done.reason else merged)

    def _is_newer_than_base(self, family: GroupFamily) -> bool:
        if self._mine.get(family.name) == self._theirs[family.name][0]:
            return False
        stored = self._entry.families.get(family.name)
        return self._is_newer(family, stored.at if stored else self._entry.base_at)

    def _is_newer(self, family: GroupFamily, at: float) -> bool:
        """Whether what the gateway holds of a family is newer than what began ``at``."""
        name, (fingerprint, value) = family.name, self._theirs[family.name]
        if name.startswith(METRIC_PREFIX):
            if name in self._times and value is not None:
                return value > self._times[name]
            if not name.endswith(TIME_SUFFIX) and self._is_run_newer is not None:
                return self._is_run_newer
        if (name, fingerprint) in self._unanswered:
            return False
        return self._is_later(at, family.pushed_at)

    def _why(self, names: Collection[str]) -> str:
        pushed = [f.pushed_at for name in names if (f := self._held.family(name))]
        latest = max(pushed or [self._held.push_time])
        return _newer(latest, "", max(self._entry.families[name].at for name in names))


def _newer(pushed_at: float, what: str, at: float) -> str:
    return (
        f"the gateway holds a push from {_shown(pushed_at)}{' ' if what else ''}{what}, newer than"
        f" this of {_shown(at)}"
    )


def _shown(moment: float) -> str:
    try:
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
    except (ValueError, OverflowError, OSError):
        return repr(moment)
    return f"{day}.{int(moment % 1 * 1000):03d}Z"
