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
from .staleness import StaleGroup, stale_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group
    from .matchers import Matchers

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

    return _delete_chosen(gateway, choose, dry_run=dry_run, force=force, timeout=timeout)


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

    chosen = _delete_chosen(gateway, choose, dry_run=dry_run, force=force, timeout=timeout)
    return [entry.group for entry in chosen]


def _delete_chosen(
    gateway: Gateway,
    choose: Callable[[list[Group]], list[StaleGroup]],
    *,
    dry_run: bool,
    force: bool,
    timeout: float | None,
) -> list[StaleGroup]:
    """Delete the groups that ``choose`` takes of those that the gateway holds at a time."""

    def read() -> list[Group]:  # with the families alone that say whether a group is needed
        return [group.only(METRIC_PREFIX) for group in gateway.iter_groups(timeout=timeout)]

    began = time.monotonic()
    groups = read()
    waiting = choose(groups)
    if dry_run:
        return waiting
    if not force:
        _refuse_much(waiting, len(groups), _now(gateway, timeout))
    deleted: list[StaleGroup] = []
    refused: list[StaleGroup] = []
    first: PushError | None = None
    read_again_at = _read_again_at(began)
    while waiting:
        try:
            if time.monotonic() > read_again_at:
                left = {_identity(entry) for entry in waiting}
                began = time.monotonic()
                waiting = [entry for entry in choose(read()) if _identity(entry) in left]
                read_again_at = _read_again_at(began)
                continue
            _delete_group(gateway, waiting[0].group, timeout)
        except PushError as error:
            first = first or error
            if not concerns_one_group(error):
                raise _failure(error, deleted, [*refused, *waiting]) from error
            refused.append(waiting.pop(0))
        else:
            deleted.append(waiting.pop(0))
    if first is not None:
        raise _failure(first, deleted, refused) from first
    return deleted


def _refuse_much(chosen: Sequence[StaleGroup], held: int, now: float) -> None:
    """Raise UnconfirmedDeletionError for too many of the ``held`` groups, and for new ones."""
    unasked = [entry for entry in chosen if not entry.expired]
    new = sum(now - entry.group.touched_at < _NEW for entry in unasked)
    if 2 * len(unasked) > held or new:
        text = f"nothing was deleted: it would be {len(chosen)} of the gateway's {held} groups"
        text += f", {new} of them pushed within an hour" if new else ""
        raise UnconfirmedDeletionError(text, deleted=(), left=tuple(chosen))


def _now(gateway: Gateway, timeout: float | None) -> float:
    """The time by the gateway's clock, in Unix seconds."""
    return time.time() + gateway.clock_offset(timeout=timeout)


def _read_again_at(began: float) -> float:
    """When to read again after a read that began then: 10,000 groups take longer than the pause."""
    now = time.monotonic()
    return now + max(_READ_AGAIN_AFTER, now - began)


def _delete_group(gateway: Gateway, group: Group, timeout: float | None) -> None:
    """Delete ``group``, also where the gateway's JSON can't show its labels: invalid UTF-8.

    The JSON has U+FFFD for their bytes. The error of a scrape, which they break, has the bytes.
    """
    if not any("\ufffd" in value for value in group.labels.values()):
        gateway.delete_group(group.labels, timeout=timeout)
        return
    broken = _broken_labels(gateway, timeout)
    # Groups that look the same are not told apart: each of them breaks every scrape.
    found = [raw for raw in broken or () if same_but_for_broken_bytes(group.labels, raw)]
    names: Sequence[Mapping[str, str | bytes]] = found or (group.labels,)
    for labels in names:
        gateway.delete_group(labels, timeout=timeout)
    if broken is not None and not found and not _is_gone(gateway, group, timeout):
        raise PushError(
            f"the group {group.labels} has a label that is not valid UTF-8, and the gateway"
            " does not tell its bytes; delete it on the gateway's web page"
        )


def _broken_labels(gateway: Gateway, timeout: float | None) -> list[dict[str, bytes]] | None:
    """The labels that break the gateway's scrapes; None where a scrape works."""
    try:
        gateway.scrape(timeout=timeout)
    except GatewayRejectedError as error:
        if not failed_inside(error):
            raise
        return broken_labels(error.read().decode("utf-8", "surrogateescape"))
    return None


def _is_gone(gateway: Gateway, group: Group, timeout: float | None) -> bool:
    for pause in (0.0, 0.05, 0.2, 0.8):  # the gateway first answers and then deletes
        time.sleep(pause)
        if all(other.labels != group.labels for other in gateway.groups(timeout=timeout)):
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
