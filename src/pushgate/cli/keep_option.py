"""``--keep`` of ``push`` and ``delete``: what can't be delivered now may wait in the outbox.

Enters: arguments and one request. Leaves: that request or an entry of the outbox, and an exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DeliveryError
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
        help="what can't be delivered now waits in the outbox for the next push or 'pushgate"
        " flush'; the exit status is 0 then",
    )


def send(settings: Settings, method: str, key: GroupingKey, text: bytes, *, keep: bool) -> int:
    """Returns 0 for what was delivered or, with ``keep``, waits now.

    Raises SettingsError, CommandError for what does not wait, and without ``keep`` DeliveryError.
    """
    if not keep:
        settings.to_gateway().send(method, key, text)
        return 0
    remarks: list[str] = []
    outbox = settings.to_outbox(remarks.append)
    try:
        settings.to_gateway(outbox).send(method, key, text)
    except DeliveryError as error:
        if outbox is None:
            remarks.append("there is no outbox to keep it in: see PUSHGATE_OUTBOX")
        if not error.kept:
            raise CommandError("; ".join([str(error), *remarks])) from None
        complain(f"{error}; it waits in the outbox and will be delivered later")
        return 0
    for remark in remarks:
        complain(remark)
    return 0
