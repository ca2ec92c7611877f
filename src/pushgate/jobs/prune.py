"""Deletes groups that are stale, or that match. The rules are in ``staleness.py``.

More than half of a gateway, or what was pushed within the last hour, is only deleted with
``force``: one slip of the hand must not delete other people's groups.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import (
    DeletionError,
    GatewayRejectedError,
    PushError,
    UnconfirmedDeletionError,
    concerns_one_group,
    failed_inside,
)
from ..protocol.broken_labels import broken_labels, same_but_for_broken_bytes
from ..protocol.timestamps import METRIC_PREFIX
from .matchers import matches, read_matchers, selective_matchers
from .staleness import StaleGroup, stale_groups, touched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from .matchers import Matchers

__all__ = ("delete_groups", "prune")

_READ_AGAIN_AFTER = 5.0  # seconds
_NEW = 3600.0  # seconds


def prune(
    gateway: Gateway,
    *,
    older_than: float,
    matchers: Matchers = (),
    dry_run: bool = False,
    force: bool = False,
    timeout: float | None = None,
) -> list[StaleGroup]:
    """Delete the groups that are stale by the rules of :func:`stale_groups`. Returns them.

    Of the families of the groups, those of the vocabulary alone are read.

    ``dry_run`` only returns them. ``force`` deletes them also where they are more than half of the
    gateway's groups, or where one was pushed within an hour; those that have expired do not count.
    ``timeout`` bounds each request, in seconds.

    The gateway's own clock counts. The groups are read before they are deleted, and again every
    five seconds meanwhile (or after as long as a read takes): a group that was pushed in the
    meantime stays. A push that waits for one of these groups in an outbox is left alone.

    Raises DeletionError, which names the groups that were deleted, where one could not be deleted;
    UnconfirmedDeletionError, a kind of it, where nothing was deleted, for that needs ``force``;
    DeliveryError where the gateway can't be read; ValueError for matchers or an age that make no
    sense.
    """
    if not older_than > 0:
        raise ValueError(f"older_than is {older_than!r}; give seconds above 0")
    wanted = read_matchers(matchers)

    def choose(groups: list[Group]) -> list[StaleGroup]:
        now = _now(gateway, timeout)
        return stale_groups(groups, now=now, older_than=older_than, matchers=wanted)

    return _Deletion(gateway, choose, timeout).run(dry_run=dry_run, force=force)


def delete_groups(
    gateway: Gateway,
    matchers: Matchers,
    *,
    dry_run: bool = False,
    force: bool = False,
    timeout: float | None = None,
) -> list[Group]:
    """Delete the groups that fulfil all ``matchers``, of which there must be one. Returns them.

    Apart from that, as :func:`prune`, errors included. Matchers that all match the empty text, such
    as ``instance=`` or ``env!=test``, are a ValueError, as to Prometheus: they match each group
    without that label, of any job, and most often a script's variable was empty.
    """
    wanted = selective_matchers(matchers)
    reason = "matches " + ",".join(map(str, wanted))

    def choose(groups: list[Group]) -> list[StaleGroup]:
        return [StaleGroup(group, reason) for group in groups if matches(group.labels, wanted)]

    chosen = _Deletion(gateway, choose, timeout).run(dry_run=dry_run, force=force)
    return [entry.group for entry in chosen]


class _Deletion:
    """Deletes the groups that ``choose`` takes of those that the gateway holds at a time."""

    def __init__(
        self,
        gateway: Gateway,
        choose: Callable[[list[Group]], list[StaleGroup]],
        timeout: float | None,
    ) -> None:
        self._gateway = gateway
        self._choose = choose
        self._timeout = timeout

    def _read(self) -> list[Group]:
        """All groups, with the families alone that say whether they are needed."""
        groups = self._gateway.iter_groups(timeout=self._timeout)
        return [group.only(METRIC_PREFIX) for group in groups]

    def run(self, *, dry_run: bool, force: bool) -> list[StaleGroup]:
        """Returns what was deleted, or with ``dry_run`` would be."""
        began = time.monotonic()
        groups = self._read()
        chosen = self._choose(groups)
        if dry_run:
            return chosen
        if not force:
            self._refuse_much(chosen, len(groups))
        return self._delete(chosen, began)

    def _refuse_much(self, chosen: Sequence[StaleGroup], held: int) -> None:
        """Raise UnconfirmedDeletionError for too many of the ``held`` groups, and for new ones."""
        unasked = [entry for entry in chosen if not entry.expired]
        if not unasked:
            return
        now = _now(self._gateway, self._timeout)
        new = sum(now - touched(entry.group) < _NEW for entry in unasked)
        if 2 * len(unasked) > held or new:
            text = f"nothing was deleted: it would be {len(chosen)} of the gateway's {held} groups"
            text += f", {new} of them pushed within an hour" if new else ""
            raise UnconfirmedDeletionError(text, deleted=(), left=tuple(chosen))

    def _delete(self, waiting: list[StaleGroup], began: float) -> list[StaleGroup]:
        deleted: list[StaleGroup] = []
        refused: list[StaleGroup] = []
        first: PushError | None = None
        deleter = _Deleter(self._gateway, self._timeout)
        read_again_at = _read_again_at(began)
        while waiting:
            try:
                if time.monotonic() > read_again_at:
                    left = {_identity(entry) for entry in waiting}
                    began = time.monotonic()
                    chosen = self._choose(self._read())
                    waiting = [entry for entry in chosen if _identity(entry) in left]
                    read_again_at = _read_again_at(began)
                    if not waiting:
                        break
                deleter.delete(waiting[0].group)
            except PushError as error:
                first = first or error
                if not concerns_one_group(error):
                    raise _failure(error, deleted, [*refused, *waiting]) from error
                refused.append(waiting[0])
            else:
                deleted.append(waiting[0])
            waiting = waiting[1:]
        if first is not None:
            raise _failure(first, deleted, refused) from first
        return deleted


def _now(gateway: Gateway, timeout: float | None) -> float:
    """The time by the gateway's clock, in Unix seconds."""
    return time.time() + gateway.clock_offset(timeout=timeout)


def _read_again_at(began: float) -> float:
    """When to read again after a read that began then: 10,000 groups take longer than the pause."""
    now = time.monotonic()
    return now + max(_READ_AGAIN_AFTER, now - began)


class _Deleter:
    """Deletes groups, also those with labels of invalid UTF-8, which the gateway's JSON can't show.

    The JSON has U+FFFD for their bytes. The error of a scrape, which they break, has the bytes.
    """

    def __init__(self, gateway: Gateway, timeout: float | None) -> None:
        self._gateway = gateway
        self._timeout = timeout
        self._broken: list[dict[str, bytes]] | None = None
        self._is_broken = False

    def delete(self, group: Group) -> None:
        if not any("\ufffd" in value for value in group.labels.values()):
            self._gateway.delete_group(group.labels, timeout=self._timeout)
            return
        if self._broken is None:
            self._broken = self._read_broken_labels()
        # Groups that look the same are not told apart: each of them breaks every scrape.
        found = [raw for raw in self._broken if same_but_for_broken_bytes(group.labels, raw)]
        names: Sequence[Mapping[str, str | bytes]] = found or (group.labels,)
        for labels in names:
            self._gateway.delete_group(labels, timeout=self._timeout)
        if self._is_broken and not found and not self._is_gone(group):
            raise PushError(
                f"the group {group.labels} has a label that is not valid UTF-8, and the gateway"
                " does not tell its bytes; delete it on the gateway's web page"
            )

    def _read_broken_labels(self) -> list[dict[str, bytes]]:
        try:
            self._gateway.scrape(timeout=self._timeout)
        except GatewayRejectedError as error:
            if not failed_inside(error):
                raise
            self._is_broken = True
            return broken_labels(error.read().decode("utf-8", "surrogateescape"))
        return []

    def _is_gone(self, group: Group) -> bool:
        for pause in (0.0, 0.05, 0.2, 0.8):  # the gateway first answers and then deletes
            time.sleep(pause)
            held = self._gateway.groups(timeout=self._timeout)
            if all(other.labels != group.labels for other in held):
                return True
        return False


def _identity(entry: StaleGroup) -> frozenset[tuple[str, str]]:
    return frozenset(entry.group.labels.items())


def _failure(
    error: PushError, deleted: Sequence[StaleGroup], left: Sequence[StaleGroup]
) -> DeletionError:
    return DeletionError(
        f"{len(deleted)} of {len(deleted) + len(left)} groups were deleted, then: {error}",
        deleted=tuple(deleted),
        left=tuple(left),
    )
