"""``--keep`` of ``push`` and ``delete``: a request that fails waits in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..delivery.messages import WAITS
from ..errors import DeliveryError
from ..log import RateLimitedLogger
from .exit_status import CommandError, complain
from .parser import add_option

if TYPE_CHECKING:
    from ..protocol.grouping_key import GroupingKey
    from .parsed_options import ParsedOptions
    from .parser import Parser


def add_keep_option(parser: Parser) -> None:
    """Add ``--keep``."""
    text = (
        "keep what can't be delivered now in the outbox, for the next push or 'pushgate flush';"
        " the exit status is 0 then"
    )
    add_option(parser, "--keep", "", text)


def send(options: ParsedOptions, method: str, key: GroupingKey, text: bytes) -> int:
    """Send one request. Returns 0 if it was delivered or, with ``--keep``, waits now.

    Raises SettingsError; without ``--keep`` DeliveryError; with it CommandError for a request that
    was neither delivered nor kept.
    """
    settings = options.load_settings()
    remarks: list[str] = []
    outbox = settings.to_outbox(RateLimitedLogger(remarks.append)) if options.keep else None
    gateway = settings.to_gateway(outbox)
    try:
        gateway.send(method, key, text)
    except DeliveryError as error:
        if not options.keep:
            raise
        if outbox is None:
            remarks.append("there is no outbox to keep it in: see PUSHGATE_OUTBOX")
        if not error.kept:
            raise CommandError("; ".join([str(error), *remarks])) from error
        complain(f"{error}; {WAITS}")
        return 0
    for remark in remarks:
        complain(remark)
    if options.verbose:
        complain(f"{'deleted' if method == 'DELETE' else 'pushed'} {key} at {gateway.url}")
    return 0
