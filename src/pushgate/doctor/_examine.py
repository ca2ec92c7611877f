"""The checks in their order, each only where those before it leave it a sense."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import PushError
from ._answers import check_clock, check_push, check_ready, check_scrape, check_status
from ._check import FAIL, Check
from ._holdings import check_groups
from ._network import check_network
from ._outbox import check_outbox
from ._settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..gateway.client import Gateway
    from ..settings.loader import Settings

__all__ = ("examine",)

_LONGEST = 10.0  # seconds for each request: somebody waits


def examine(
    settings: Settings, environ: Mapping[str, str], *, push: bool = False
) -> Iterator[Check]:
    """All checks. ``environ`` is where the settings are from.

    ``push`` also pushes a group ``{job="pushgate_doctor"}`` and deletes it. Raises nothing of a
    gateway's doing.
    """
    yield from check_settings(settings, environ)
    settings = settings._replace(timeout=min(settings.timeout, _LONGEST), retries=0)
    try:
        gateway = settings.to_gateway()
    except (PushError, ValueError) as error:
        yield Check(FAIL, "settings", str(error))  # which says what to change
        yield from check_outbox(settings)
        return
    reached = True
    for check in check_network(settings):
        reached = reached and check.level != FAIL
        yield check
    if reached:
        yield from _ask(gateway, settings)
        if push:
            yield check_push(gateway)
    yield from check_outbox(settings)


def _ask(gateway: Gateway, settings: Settings) -> Iterator[Check]:
    readable = True
    for check in check_status(gateway, settings):
        readable = readable and (check.subject, check.level) != ("access", FAIL)
        yield check
    if not readable:
        return
    yield check_ready(gateway)
    offset, check = check_clock(gateway)
    yield check
    try:
        groups = gateway.groups()
    except PushError as error:
        yield Check(FAIL, "groups", str(error), "see what stands in front of the gateway")
        return
    yield check_scrape(gateway, groups)
    yield from check_groups(groups, time.time() + offset)
