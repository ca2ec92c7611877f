"""``pushgate flush``: deliver, list or discard what waits in the outbox."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import DeliveryError
from ..gateway.client import Gateway
from ..jobs.ages import ago, counted
from ..jobs.matchers import matches
from ..log import RateLimitedLogger
from ..protocol.names import selector
from .exit_status import CommandError, UsageError, complain
from .formatting import print_json, print_table, printable
from .parsed_options import ParsedOptions, read_matchers
from .parser import Parser, add_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..outbox.outbox import Outbox
    from ..outbox.record import Flushed, WaitingGroup

_IS_URL = re.compile(r"^[a-z]+://|^[^=~!]+:[0-9]+(/|$)")  # also host:9091, without a scheme


def parser() -> Parser:
    made = Parser(
        "flush",
        "Deliver the pushes that wait in this host's outbox for the gateway, because they\n"
        "could not be delivered when they were made. A newer push is never overwritten;\n"
        "stderr has a line for each that is left out. Any later push that succeeds does\n"
        "the same in passing.",
        "exit status: 0 nothing is left for this gateway, 1 something is, 2 wrong usage",
    )
    what = made.add_mutually_exclusive_group()
    add_option(what, "--list", "", "show what waits for all gateways, and send nothing")
    what.add_argument(
        "--discard",
        nargs="+",
        default=[],
        metavar="URL|MATCHER",
        help="remove what waits for this URL, or for groups that match: job=old, or just old;"
        " show it, and send nothing",
    )
    text = "also deliver what waits for this former URL of the gateway"
    add_option(what, "--from", "URL", text, dest="from_url")
    add_option(made, "--dry-run", "", "only show what would be done")
    text = (
        "send all of it without reading the gateway, which may hold newer pushes: for a gateway"
        " that can't be read"
    )
    add_option(made, "--unseen", "", text)
    made.add_output("json", "quiet", json="for scripts")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 when nothing is left for the gateway, 1 otherwise."""
    settings = options.load_settings()
    faults: list[str] = []

    def tell(line: str) -> None:
        faults.append(line)
        complain(line)

    outbox = settings.to_outbox(RateLimitedLogger(tell))
    if outbox is None:
        raise CommandError(
            "the outbox is switched off"
            if settings.outbox == "off"
            else "this system has no outbox"
        )
    waiting = outbox.waiting()
    if faults and not waiting:  # it can't be read
        return 1
    if options.list:
        _list(waiting, outbox, options)
        return 0
    if options.discard:
        return _discard(outbox, options)
    return _flush(outbox, settings.to_gateway(), waiting, options)


def _flush(
    outbox: Outbox, gateway: Gateway, waiting: Sequence[WaitingGroup], options: ParsedOptions
) -> int:
    former = None if options.from_url is None else _url(options.from_url)
    flushed = outbox.flush(gateway, unseen=options.unseen, dry_run=options.dry_run, from_url=former)
    others = Counter(g.url for g in waiting if g.url not in (gateway.url, former))
    if options.json:
        error = flushed.error and str(flushed.error)
        facts = flushed._asdict() | {"url": gateway.url, "error": error, "others": others}
        print_json(facts)
    else:
        _report(flushed, gateway.url, options)
        for url, count in sorted(others.items()):
            print(
                f"{counted(count, 'group')} for another gateway, {url}: give --gateway to deliver"
            )
    if flushed.error is not None:
        complain(str(flushed.error))
    return 1 if flushed.left or flushed.error else 0


def _report(flushed: Flushed, url: str, options: ParsedOptions) -> None:
    done = "would be delivered" if options.dry_run else "delivered"
    parts = [f"{counted(flushed.delivered, 'group')} {done} to {url}"]
    if flushed.dropped:
        parts.append(f"{len(flushed.dropped)} not, or not whole")
    if flushed.left:
        parts.append(f"{flushed.left} left")
    print(printable(", ".join(parts)))
    for line in flushed.dropped if options.dry_run else ():
        print(printable(line))


def _discard(outbox: Outbox, options: ParsedOptions) -> int:
    """Returns 0. Raises CommandError while another process delivers from the outbox."""
    urls = {_url(text) for text in options.discard if _IS_URL.search(text)}
    matchers = read_matchers([text for text in options.discard if not _IS_URL.search(text)])
    if len(urls) > 1:
        raise UsageError("--discard takes one URL at a time")
    url = next(iter(urls), None)
    if options.dry_run:
        gone = [group for group in outbox.waiting(url) if matches(group.labels, matchers)]
    else:
        try:
            gone = outbox.discard(url, lambda labels: matches(labels, matchers))
        except DeliveryError as error:
            raise CommandError(str(error)) from None
    if options.json:
        print_json([group._asdict() for group in gone])
        return 0
    for group in gone:
        print(printable(f"{selector(group.labels)}  {_request(group)}  for {group.url}"))
    print(
        f"{counted(len(gone), 'group')} {'would be discarded' if options.dry_run else 'discarded'}"
    )
    return 0


def _url(text: str) -> str:
    return Gateway(text).url  # as the outbox has it, without credentials


def _list(waiting: Sequence[WaitingGroup], outbox: Outbox, options: ParsedOptions) -> None:
    if options.json:
        print_json([group._asdict() for group in waiting])
        return
    if not waiting:
        print(f"nothing waits in {outbox.path}")
        return
    now = time.time()
    print_table(
        ("GROUP", "GATEWAY", "WAITS FOR", "SINCE", "TRIES", ""),
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
        optional=("GATEWAY", "TRIES"),
    )


def _request(group: WaitingGroup) -> str:
    if group.method == "DELETE":
        return "DELETE"
    return f"{group.method} of {counted(len(group.families), 'metric')}"
