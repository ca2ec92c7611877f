"""A task that deletes the groups nobody pushes to any more, for beat.

Enters: an app, a gateway and an age. Leaves: a task of the app's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pushgate import (
    DeletionError,
    Gateway,
    Matcher,
    Settings,
    SettingsError,
    parse_matchers,
    prune,
)
from pushgate_celery._options import checked, from_conf, gateway_of, seconds

__all__ = ("add_prune_task",)

_log = logging.getLogger("pushgate")


def add_prune_task(
    app: Any,
    gateway: str | Settings | Gateway | None = None,
    *,
    older_than: float | str | timedelta,
    matchers: str | Matcher | Iterable[str | Matcher] = (),
    name: str = "pushgate.prune",
) -> Any:
    """Give ``app`` a task that deletes stale groups, and return it. Call it where the app is made.

    ``gateway`` is as in :func:`pushgate_celery.install`, and looked up when the task runs.
    ``older_than`` is in seconds, or text such as ``"7d"``. Only groups that fulfil all ``matchers``
    go, such as ``'job="celery"'``. Which groups are stale is said at :func:`pushgate.prune`.

    The task takes no arguments and returns how many groups it has deleted; put it into beat's
    schedule. It fails, with the reason, where a group could not be deleted.

    Raises SettingsError for an argument that can't be used.
    """
    given = checked({"gateway": gateway})
    try:
        if isinstance(older_than, timedelta):
            older_than = older_than.total_seconds()
        age = seconds(older_than)
        if not age:
            raise ValueError("it is 0; give a duration above 0")
    except ValueError as error:
        raise SettingsError(f"older_than: {error}") from None
    wanted = _read(matchers)

    def pushgate_prune() -> int:
        to = gateway_of(given, from_conf(app), os.environ)
        if to is None:
            raise SettingsError(
                "no gateway is configured: give add_prune_task() a gateway, or set pushgate_gateway"
                " in the app's configuration, or PUSHGATE_GATEWAY"
            )
        try:
            to = to.to_gateway() if isinstance(to, Settings) else to
            deleted = prune(to, older_than=age, matchers=wanted)
        except DeletionError as error:
            _tell(error.deleted)
            raise
        _tell(deleted)
        return len(deleted)

    # Not shared, which is Celery's default: every other app would have it under this name, too.
    return app.task(pushgate_prune, name=name, shared=False)


def _read(matchers: str | Matcher | Iterable[str | Matcher]) -> tuple[Matcher, ...]:
    given = (matchers,) if isinstance(matchers, (str, Matcher)) else tuple(matchers)
    found: list[Matcher] = []
    try:
        for matcher in given:
            found += [matcher] if isinstance(matcher, Matcher) else parse_matchers(matcher)
    except ValueError as error:
        raise SettingsError(f"matchers: {error}") from None
    return tuple(found)


def _tell(deleted: Iterable[Any]) -> None:
    for entry in deleted:
        _log.info("deleted the group %s: %s", entry.group.labels, entry.reason)
