"""``--keep`` of ``push`` and ``delete``: a request that fails waits in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..delivery.messages import WAITS
from ..errors import DeliveryError
from ..log import RateLimitedLogger
from .exit_status import CommandError, complain

if TYPE_CHECKING:
    import argparse

    from ..protocol.grouping_key import GroupingKey
    from ..settings.loader import Settings

__all__ = ("add_keep_option", "send")


def add_keep_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--keep``."""
    parser.add_argument(
        "--keep",
        action="store_true",
        help="if it can't be delivered now, let it wait in the outbox for the next push or"
        " 'pushgate flush'; the exit status is 0 then",
    )


def send(settings: Settings, method: str, key: GroupingKey, text: bytes, *, keep: bool) -> int:
    """Send one request. Returns 0 if it was delivered or, with ``keep``, waits now.

    Raises SettingsError; without ``keep`` DeliveryError; with ``keep`` CommandError for a request
    that was neither delivered nor kept.
    """
    if not keep:
        settings.to_gateway().send(method, key, text)
        return 0
    remarks: list[str] = []
    outbox = settings.to_outbox(RateLimitedLogger(remarks.append))
    try:
        settings.to_gateway(outbox).send(method, key, text)
    except DeliveryError as error:
        if outbox is None:
            remarks.append("there is no outbox to keep it in: see PUSHGATE_OUTBOX")
        if not error.kept:
            raise CommandError("; ".join([str(error), *remarks])) from None
        complain(f"{error}; {WAITS}")
        return 0
    for remark in remarks:
        complain(remark)
    return 0
