"""The rule by which something old is delivered, or not: it never overwrites a newer push.

Enters: what waits for a group, what the gateway holds for it, and a way to compare the two clocks.
Leaves: a :class:`Plan`, the requests to make and what is left out, with the reason. Pure but for
what comparing clocks costs.

The gateway is read before anything is sent that began before this call. Then, family by family:

1. What the gateway holds already, sample for sample, is not sent.
2. What an own request without an answer carried (a time-out, a cut connection, a 5xx) may arrive
   long after: what the gateway holds and is one of these is not newer, whatever its time.
3. ``batch_job_*_timestamp_seconds`` of one sample without labels: the larger value wins.
4. Other ``batch_job_*`` families, where the entry and the gateway both say when a run ended
   (``last_completion``, ``last_skipped``, ``last_retry``) or, of an entry without an end, when it
   started: the later moment wins; of equal ones, the entry's.
5. All else by time: when the sending of what waits began, on this host's clock, against when the
   gateway took what it holds, on its own. How far the two clocks are apart is measured by the
   Date of the gateway's answers (or those of the proxy in front of it), to about 5 ms where it
   matters; clocks without a Date count as equal within a second. What is so close that this does
   not decide was most likely pushed by this host, just before: the entry counts as newer.

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

from ..jobs.vocabulary import METRIC_PREFIX
from ._families import content_of, held_content

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from ..protocol.families import Family
    from ..protocol.groups import Group, GroupFamily
    from ._families import Content
    from ._values import Entry, Kept

    IsLater = Callable[[float, float], bool]

__all__ = ("Plan", "fingerprints", "newer_families", "plan", "unseen_plan")

_EMPTIED = ("", "emptied")  # a PUT of nothing

_TIME = "_timestamp_seconds"
_START = f"{METRIC_PREFIX}last_start{_TIME}"
_SUCCESS = f"{METRIC_PREFIX}last_success{_TIME}"
_FAILURE = f"{METRIC_PREFIX}last_failure{_TIME}"
_SKIPPED = f"{METRIC_PREFIX}last_skipped{_TIME}"
_RETRY = f"{METRIC_PREFIX}last_retry{_TIME}"
_COMPLETION = f"{METRIC_PREFIX}last_completion{_TIME}"
_RUN_SUCCESS = f"{METRIC_PREFIX}last_run_success"
_ENDS = (_COMPLETION, _SKIPPED, _RETRY)

_SAME = 0.001  # seconds: databases and texts keep microseconds at best


class Plan(NamedTuple):
    """What to send: ``method`` with the families of these names; None for no request.

    ``reason`` says what is not sent, and why; None where all is.
    """

    method: str | None
    names: tuple[str, ...] = ()
    reason: str | None = None


def fingerprints(
    method: str, families: Mapping[str, Kept], grouping: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Of a request without an answer, for ``plan``."""
    if method == "PUT" and not families:
        yield _EMPTIED
    for name, kept in families.items():
        yield name, content_of(name, kept.body, grouping, kept.kind).fingerprint


def unseen_plan(entry: Entry) -> Plan:
    """All of it, without looking at what the gateway holds."""
    return Plan(entry.method, tuple(entry.families))


def newer_families(
    families: Iterable[Family], group: Group | None, *, run_started_at: float | None = None
) -> list[Family]:
    """The families of one run that say something newer than ``group`` does (items 3 and 4).

    For an outcome that several processes tell, one of them maybe late. ``group`` is what the
    gateway holds, None where it holds nothing. Families other than ``batch_job_*`` are all
    returned.

    ``run_started_at``, in Unix seconds, is for a teller that knows the run's start earlier, and its
    end later, than the job's own process did, as Airflow's database does (14 s were seen). Then
    nothing is newer where the group has an end of the same kind that is not older than this one, or
    that came after a start between ``run_started_at`` and that end.
    """
    families = list(families)
    if group is None:
        return families
    mine = {
        family.name: family.samples[0].value for family in families if family.name.endswith(_TIME)
    }
    theirs = {name: value for name in (_START, *_ENDS) if (value := group.value(name)) is not None}
    if run_started_at is not None and _shows_run(group, mine, run_started_at):
        return []
    is_run_newer = _is_later_run(theirs, mine)
    return [
        family
        for family in families
        if not family.name.startswith(METRIC_PREFIX)
        or (
            mine[family.name] > (group.value(family.name) or 0.0) + _SAME
            if family.name in mine
            else not is_run_newer and _differs(family, group)
        )
    ]


def _shows_run(group: Group, mine: Mapping[str, float], run_started_at: float) -> bool:
    """Whether ``group`` has the end of the run whose times are ``mine``."""
    kind = next((name for name in (_SUCCESS, _FAILURE, _SKIPPED, _RETRY) if name in mine), None)
    end = group.value(kind) if kind else None
    if kind is None or end is None:
        return False
    is_verdict = kind in (_SUCCESS, _FAILURE)
    if is_verdict and group.value(_RUN_SUCCESS) != (kind == _SUCCESS):
        completed = group.value(_COMPLETION) or 0.0
        if completed <= mine[kind] + _SAME:  # only a later run may have ended otherwise
            return False
    if end >= mine[kind] - _SAME:
        return True
    start = group.value(_START)
    return start is not None and run_started_at - _SAME <= start <= end + _SAME


def _is_later_run(theirs: Mapping[str, float], mine: Mapping[str, float]) -> bool | None:
    """Whether the last end in ``theirs``, or the start if ``mine`` has no end, is the later one.

    None where one of the two says nothing.
    """
    names = (_START,) if mine.keys().isdisjoint(_ENDS) else _ENDS
    ours = [mine[name] for name in names if name in mine]
    others = [theirs[name] for name in names if name in theirs]
    return max(others) > max(ours) + _SAME if ours and others else None


def _values(contents: Mapping[str, Content]) -> dict[str, float]:
    return {name: found.value for name, found in contents.items() if found.value is not None}


def _differs(family: Family, group: Group) -> bool:
    return any(group.value(s.name, **s.labels) != s.value for s in family.samples)


def plan(
    entry: Entry,
    unanswered: Collection[tuple[str, str]],
    held: Group | None,
    grouping: Collection[str],
    is_later: IsLater,
) -> Plan:
    """By the rule above.

    ``unanswered`` has names of families and fingerprints, ``held`` is None where the gateway has no
    such group, ``grouping`` has the names of its labels. ``is_later(here, there)`` says whether a
    moment of the gateway's clock is later than one of ours; what it raises is passed on.
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
        self._mine = {
            name: content_of(name, kept.body, grouping, kept.kind)
            for name, kept in entry.families.items()
        }
        self._theirs = {family.name: held_content(family, grouping) for family in held.families}
        self._is_run_newer = _is_later_run(_values(self._theirs), _values(self._mine))

    def of_empty_group(self) -> Plan:
        entry, emptied_at = self._entry, self._held.push_time
        if _EMPTIED in self._unanswered:
            return unseen_plan(entry)
        if entry.base is not None and not self._is_later(entry.base_at, emptied_at):
            return unseen_plan(entry)
        older = {n for n, k in entry.families.items() if self._is_later(k.at, emptied_at)}
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
        for name, kept in self._entry.families.items():
            family = self._held.family(name)
            if names is not None and name not in names:
                older.append(name)
            elif family is None:
                send.append(name)
            elif self._theirs[name].fingerprint == self._mine[name].fingerprint:
                pass
            elif self._is_newer(family, kept.at, self._mine[name]):
                older.append(name)
            else:
                send.append(name)
        reason = f"{', '.join(sorted(older))} not sent: {self._why(older)}" if older else None
        return Plan("POST" if send else None, tuple(send), reason)

    def of_whole_group(self) -> Plan:
        entry = self._entry
        newer = [family for family in self._held.families if self._is_newer_than_base(family)]
        if not newer:
            if self._theirs == self._mine and entry.families:
                return Plan(None)
            return unseen_plan(entry)
        if entry.method == "DELETE":
            latest = max(family.pushed_at for family in newer)
            return Plan(None, (), f"the DELETE not sent: {_newer(latest, '', entry.base_at)}")
        if len(newer) == len(self._held.families):
            return self.by_family(
                [n for n, kept in entry.families.items() if kept.at > entry.base_at]
            )
        done = self.by_family()
        others = ", ".join(sorted(family.name for family in newer))
        merged = f"a {entry.base} merged into the group as a POST, for {others} in it is newer"
        return done._replace(reason=f"{done.reason}; {merged}" if done.reason else merged)

    def _is_newer_than_base(self, family: GroupFamily) -> bool:
        mine = self._mine.get(family.name)
        if mine is not None and mine.fingerprint == self._theirs[family.name].fingerprint:
            return False
        kept = self._entry.families.get(family.name)
        return self._is_newer(family, kept.at if kept else self._entry.base_at, mine)

    def _is_newer(self, family: GroupFamily, at: float, mine: Content | None) -> bool:
        """Whether what the gateway holds of a family is newer than what began ``at``."""
        theirs = self._theirs[family.name]
        if (family.name, theirs.fingerprint) in self._unanswered:
            return False
        if family.name.startswith(METRIC_PREFIX):
            if family.name.endswith(_TIME) and mine is not None:
                if mine.value is not None and theirs.value is not None:
                    return theirs.value > mine.value
            elif self._is_run_newer is not None:
                return self._is_run_newer
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
