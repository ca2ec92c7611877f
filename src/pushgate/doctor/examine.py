"""Runs the checks in their order, and leaves out those that can't succeed after a failed one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import PushError
from .check_gateway import check_clock, check_push, check_ready, check_scrape, check_status
from .check_groups import check_groups
from .check_load import check_load
from .check_network import check_network
from .check_outbox import check_outbox
from .check_settings import check_settings
from .finding import FAIL, Finding, fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..gateway.client import Gateway
    from ..settings.loader import Settings

_LONGEST = 10.0  # seconds for each request: a person waits


def examine(
    settings: Settings, environ: Mapping[str, str], *, push: bool = False
) -> Iterator[Finding]:
    """Yield the findings as the checks make them. ``settings`` come from ``environ``.

    ``push`` also pushes a group ``{job="pushgate_doctor"}`` and deletes it. Never raises because
    of a gateway.
    """
    yield from check_settings(settings, environ)
    settings = settings._replace(timeout=min(settings.timeout, _LONGEST), retries=0)
    try:
        gateway = settings.to_gateway()
    except (PushError, ValueError) as error:
        yield fail("settings", str(error))
        yield from check_outbox(settings)
        return
    is_reached = True
    for finding in check_network(settings):
        is_reached = is_reached and finding.level != FAIL
        yield finding
    if is_reached:
        yield from _check_all_of_gateway(gateway, settings)
        if push:
            yield check_push(gateway)
    yield from check_outbox(settings)


def _check_all_of_gateway(gateway: Gateway, settings: Settings) -> Iterator[Finding]:
    for finding in check_status(gateway, settings):
        yield finding
        if (finding.subject, finding.level) == ("access", FAIL):
            return
    yield check_ready(gateway)
    offset, finding = check_clock(gateway)
    yield finding
    try:
        groups = gateway.groups()
    except PushError as error:
        yield fail("groups", str(error), "see what stands in front of the gateway")
        return
    scraped, finding = check_scrape(gateway, groups)
    yield finding
    now = time.time() + offset
    yield from check_groups(groups, now)
    yield from check_load(groups, scraped, now)
