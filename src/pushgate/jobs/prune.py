"""Deleting groups that are stale, or that are meant by their labels.

Enters: a gateway, and which groups. Leaves: DELETE requests, and which groups are gone. The rules
are in staleness.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import (
    DeletionError,
    GatewayRejectedError,
    PushError,
    concerns_one_group,
    failed_inside,
)
from ..protocol.broken_labels import broken_labels, same_but_for_broken_bytes
from .matchers import matches, read_matchers
from .staleness import StaleGroup, stale_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from .matchers import Matcher, Matchers

__all__ = ("delete_groups", "prune", "selective_matchers")

_READ_AGAIN_AFTER = 5.0  # seconds


def prune(
    gateway: Gateway,
    *,
    older_than: float,
    matchers: Matchers = (),
    dry_run: bool = False,
    timeout: float | None = None,
) -> list[StaleGroup]:
    """Delete the groups that are stale, by the rules of :func:`stale_groups`. Returns them.

    ``dry_run`` only returns them. ``timeout`` bounds each request, in seconds.

    The gateway's own clock counts. The groups are read right before they are deleted, and again
    every five seconds while that lasts, or after as long as reading them takes: one that was pushed
    meanwhile stays. What waits for such a group in an outbox is left alone, and is judged when it
    is delivered.

    Raises DeletionError where a group could not be deleted, and says which were; DeliveryError
    where the gateway can't be read; ValueError for matchers or an age that make no sense.
    """
    if not older_than > 0:
        raise ValueError(f"older_than is {older_than!r}; give seconds above 0")
    wanted = read_matchers(matchers)

    def choose() -> list[StaleGroup]:
        now = time.time() + gateway.clock_offset(timeout=timeout)
        groups = gateway.groups(timeout=timeout)
        return stale_groups(groups, now=now, older_than=older_than, matchers=wanted)

    return choose() if dry_run else _delete(gateway, choose, timeout)


def delete_groups(
    gateway: Gateway,
    matchers: Matchers,
    *,
    dry_run: bool = False,
    timeout: float | None = None,
) -> list[Group]:
    """Delete all groups that fulfil all ``matchers``, of which one at least. Returns them.

    Otherwise as :func:`prune`, the errors included. Matchers that only say which labels are not
    there, such as ``instance=``, are a ValueError: most often a script's variable was empty.
    """
    wanted = selective_matchers(matchers)
    reason = "matches " + ",".join(map(str, wanted))

    def choose() -> list[StaleGroup]:
        groups = gateway.groups(timeout=timeout)
        return [StaleGroup(group, reason) for group in groups if matches(group.labels, wanted)]

    chosen = choose() if dry_run else _delete(gateway, choose, timeout)
    return [entry.group for entry in chosen]


def selective_matchers(matchers: Matchers) -> tuple[Matcher, ...]:
    """``matchers``, if they say which groups to delete. Raises ValueError."""
    wanted = read_matchers(matchers)
    if not wanted:
        raise ValueError(
            'no matcher says which groups to delete; for all of them, say so: job=~".*"'
        )
    if all(matcher.operator in ("=", "=~") and not matcher.value for matcher in wanted):
        raise ValueError(
            f"{','.join(map(str, wanted))} matches every group without that label, of whatever job;"
            ' if that is meant, add job=~".+"'
        )
    return wanted


def _delete(
    gateway: Gateway, choose: Callable[[], list[StaleGroup]], timeout: float | None
) -> list[StaleGroup]:
    began, waiting = time.monotonic(), choose()
    read_again_at = _read_again_at(began)
    deleted: list[StaleGroup] = []
    refused: list[StaleGroup] = []
    first: PushError | None = None
    names = _Names(gateway, timeout)
    while waiting:
        try:
            if time.monotonic() > read_again_at:
                left = {_identity(entry) for entry in waiting}
                began = time.monotonic()
                waiting = [entry for entry in choose() if _identity(entry) in left]
                read_again_at = _read_again_at(began)
                if not waiting:
                    break
            names.delete(waiting[0].group)
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


def _read_again_at(began: float) -> float:
    """When, after a read that began then: some ten thousand groups take longer than the pause."""
    now = time.monotonic()
    return now + max(_READ_AGAIN_AFTER, now - began)


class _NamelessError(PushError):
    """A group that the gateway shows and nobody can name."""


class _Names:
    """Deletes groups, also those whose labels the gateway's JSON can't tell: bytes, not text."""

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
            self._broken = self._look_up()
        # Groups that look the same are not told apart: each of them fails every scrape.
        found = [raw for raw in self._broken if same_but_for_broken_bytes(group.labels, raw)]
        names: Sequence[Mapping[str, str | bytes]] = found or (group.labels,)
        for labels in names:
            self._gateway.delete_group(labels, timeout=self._timeout)
        if self._is_broken and not found and not self._is_gone(group):
            raise _NamelessError(
                f"the group {group.labels} has a label that is not valid UTF-8, and the gateway"
                " does not tell its bytes; delete it at the gateway's own page"
            )

    def _look_up(self) -> list[dict[str, bytes]]:
        try:
            self._gateway.scrape(timeout=self._timeout)
        except GatewayRejectedError as error:
            if not failed_inside(error):
                raise
            self._is_broken = True
            return broken_labels(error.read().decode("utf-8", "surrogateescape"))
        return []

    def _is_gone(self, group: Group) -> bool:
        for pause in (0.0, 0.05, 0.2, 0.8):  # the gateway answers first and deletes then
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
