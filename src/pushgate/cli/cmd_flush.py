"""``pushgate flush``: deliver, list or discard what waits in the outbox."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import DeliveryError
from ..gateway.client import Gateway
from ..jobs.matchers import matches
from ..log import RateLimitedLogger
from ..protocol.names import selector
from .common_options import (
    Parser,
    add_gateway_options,
    add_json_option,
    load_settings,
    read_matchers,
)
from .exit_status import CommandError, UsageError, complain
from .formatting import ago, counted, print_json, print_table, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..outbox import Flushed, Outbox, WaitingGroup


def main(arguments: list[str]) -> int:
    """Returns 0 when nothing is left for the gateway, 1 otherwise."""
    options = _parser().parse_args(arguments)
    settings = load_settings(options)
    outbox = settings.to_outbox(RateLimitedLogger(complain))
    if outbox is None:
        raise CommandError(
            "the outbox is switched off" if settings.outbox == "off" else "nothing can be kept"
        )
    if options.json and not options.list:
        raise UsageError("--json goes with --list")
    waiting = outbox.waiting()
    is_folder = os.path.isdir(outbox.path) or not os.path.lexists(outbox.path)
    if not waiting and not (is_folder and outbox.is_empty()):
        raise CommandError(f"the outbox {outbox.path} can't be read now")
    if options.list:
        _list(waiting, outbox, as_json=options.json)
        return 0
    if options.discard:
        return _discard(outbox, options.discard, dry_run=options.dry_run)
    return _flush(outbox, settings.to_gateway(), waiting, options)


def _parser() -> Parser:
    parser = Parser(
        "flush",
        "Deliver the pushes that wait in this host's outbox for the gateway, because they could\n"
        "not be delivered when they were made. A newer push is never overwritten; stderr has a\n"
        "line for each that is left out. Any later push that succeeds does the same in passing.",
        "exit status: 0 nothing is left for this gateway, 1 something is, 2 wrong usage",
    )
    parser.add_argument(
        "--list", action="store_true", help="only show what waits, for all gateways; no request"
    )
    parser.add_argument(
        "--from",
        dest="from_url",
        metavar="URL",
        help="also deliver what waits for this former URL of the gateway",
    )
    parser.add_argument(
        "--discard",
        action="append",
        metavar="URL|MATCHER",
        help="remove what waits for this gateway, or for groups that match, such as job=old, and"
        " show it; if repeated, all have to match; no request",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument(
        "--unseen",
        action="store_true",
        help="send all of it without reading the gateway, which may hold newer pushes: for a"
        " gateway that can't be read",
    )
    parser.add_argument("--quiet", action="store_true", help="write nothing if all is delivered")
    add_json_option(parser, "with --list, for scripts")
    add_gateway_options(parser)
    return parser


def _flush(
    outbox: Outbox,
    gateway: Gateway,
    waiting: Sequence[WaitingGroup],
    options: argparse.Namespace,
) -> int:
    former = None if options.from_url is None else _url(options.from_url)
    flushed = outbox.flush(gateway, unseen=options.unseen, dry_run=options.dry_run, from_url=former)
    if not options.quiet:
        _report(flushed, gateway.url, dry_run=options.dry_run)
        others = Counter(g.url for g in waiting if g.url not in (gateway.url, former))
        for url, count in sorted(others.items()):
            print(
                f"{counted(count, 'group')} for another gateway, {url}: give --gateway to deliver"
            )
    if flushed.error is not None:
        complain(str(flushed.error))
    return 1 if flushed.left or flushed.error else 0


def _report(flushed: Flushed, url: str, *, dry_run: bool) -> None:
    done = "would be delivered" if dry_run else "delivered"
    parts = [f"{counted(flushed.delivered, 'group')} {done} to {url}"]
    if flushed.dropped:
        parts.append(f"{len(flushed.dropped)} not, or not whole")
    if flushed.left:
        parts.append(f"{flushed.left} left")
    print(printable(", ".join(parts)))
    for line in flushed.dropped if dry_run else ():
        print(printable(line))


def _discard(outbox: Outbox, conditions: Sequence[str], *, dry_run: bool) -> int:
    """Returns 0. Raises CommandError while another process delivers from the outbox."""
    urls = {_url(text) for text in conditions if _is_url(text)}
    matchers = read_matchers([text for text in conditions if not _is_url(text)])
    if len(urls) > 1:
        raise UsageError("--discard takes one URL at a time")
    url = next(iter(urls), None)
    if dry_run:
        gone = [group for group in outbox.waiting(url) if matches(group.labels, matchers)]
    else:
        try:
            gone = outbox.discard(url, lambda labels: matches(labels, matchers))
        except DeliveryError as error:
            raise CommandError(str(error)) from None
    for group in gone:
        print(printable(f"{selector(group.labels)}  {_request(group)}  for {group.url}"))
    print(f"{counted(len(gone), 'group')} {'would be discarded' if dry_run else 'discarded'}")
    return 0


def _is_url(text: str) -> bool:
    return "://" in text or "=" not in text


def _url(text: str) -> str:
    return Gateway(text).url  # as the outbox has it, without credentials


def _list(waiting: Sequence[WaitingGroup], outbox: Outbox, *, as_json: bool) -> None:
    if as_json:
        print_json([group._asdict() for group in waiting])
        return
    if not waiting:
        print(f"nothing waits in {outbox.path}")
        return
    now = time.time()
    print_table(
        ("GROUP", "GATEWAY", "WAITS FOR", "SINCE", "TRIES", "LAST ERROR"),
        [
            (
                selector(group.labels),
                group.url,
                _request(group),
                ago(group.since, now),
                str(group.tries),
                group.last_error or "",
            )
            for group in waiting
        ],
    )


def _request(group: WaitingGroup) -> str:
    if group.method == "DELETE":
        return "DELETE"
    return f"{group.method} of {counted(len(group.families), 'metric')}"
