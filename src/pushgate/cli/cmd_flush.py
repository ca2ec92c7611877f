"""``pushgate flush``: deliver what waits in the outbox, or list it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..protocol.names import selector
from .common_options import Parser, add_gateway_options, load_settings
from .exit_status import CommandError, complain
from .formatting import ago, counted, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..outbox import Flushed, Outbox, WaitingGroup


def main(arguments: list[str]) -> int:
    """Returns 0 when nothing is left for the gateway, 1 otherwise."""
    options = _parser().parse_args(arguments)
    settings = load_settings(options)
    outbox = settings.to_outbox(complain)
    if outbox is None:
        raise CommandError(
            "the outbox is switched off" if settings.outbox == "off" else "nothing can be kept"
        )
    waiting = outbox.waiting()
    if not waiting and not outbox.is_empty():
        raise CommandError(f"the outbox {outbox.path} can't be read now")
    if options.list:
        _list(waiting, outbox)
        return 0
    gateway = settings.to_gateway()
    flushed = outbox.flush(gateway, unseen=options.unseen)
    if not options.quiet:
        _report(flushed, gateway.url)
        others = Counter(group.url for group in waiting if group.url != gateway.url)
        for url, count in sorted(others.items()):
            _say(f"{counted(count, 'group')} for another gateway, {url}: give --gateway to deliver")
    if flushed.error is not None:
        complain(str(flushed.error))
    return 1 if flushed.left or flushed.error else 0


def _parser() -> Parser:
    parser = Parser(
        "flush",
        "Deliver the pushes that wait in this host's outbox for the gateway: those that could not\n"
        "be delivered when they were made. What the gateway holds newer is not overwritten; that\n"
        "is said on stderr. Any later push that succeeds does the same in passing.",
        "exit status: 0 nothing is left for this gateway, 1 something is, 2 wrong usage",
    )
    parser.add_argument(
        "--list", action="store_true", help="only show what waits, for all gateways; no request"
    )
    parser.add_argument(
        "--unseen",
        action="store_true",
        help="send all of it without looking at what the gateway holds, which may be newer: for a"
        " gateway that can't be read",
    )
    parser.add_argument("--quiet", action="store_true", help="write nothing where all goes well")
    add_gateway_options(parser)
    return parser


def _report(flushed: Flushed, url: str) -> None:
    parts = [f"{counted(flushed.delivered, 'group')} delivered to {url}"]
    if flushed.dropped:
        parts.append(f"{len(flushed.dropped)} not, or not whole")
    if flushed.left:
        parts.append(f"{flushed.left} left")
    _say(", ".join(parts))


def _list(waiting: Sequence[WaitingGroup], outbox: Outbox) -> None:
    if not waiting:
        _say(f"nothing waits in {outbox.path}")
        return
    now = time.time()
    print_table(
        ("GROUP", "GATEWAY", "WAITS FOR", "SINCE", "TRIES", "LAST ERROR"),
        [
            (
                selector(group.labels),
                group.url,
                _what(group),
                ago(group.since, now),
                str(group.tries),
                group.last_error or "",
            )
            for group in waiting
        ],
    )


def _what(group: WaitingGroup) -> str:
    if group.method == "DELETE":
        return "DELETE"
    return f"{group.method} of {counted(len(group.families), 'metric')}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
