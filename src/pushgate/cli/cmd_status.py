"""``pushgate status``: how each job is doing, the worst first, and an exit code for scripts."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import PushError
from ..jobs.ages import ago, counted, span
from ..jobs.picture import Picture, read_picture
from ..jobs.row_texts import last_run, next_run, remarks, summary, young_gateway
from ..settings import readers
from .exit_status import UsageError, complain
from .formatting import is_terminal, print_json, print_table
from .html_option import write_error_page, write_status_page
from .parsed_options import ParsedOptions
from .parser import Parser, add_option
from .waiting import waiting_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..gateway.client import Gateway
    from ..jobs.matchers import Matcher
    from ..jobs.status import JobRow

_ALARM = 3
_CLEAR = "\x1b[H\x1b[2J"
_HEADS = ("JOB", "LAST RUN", "WHEN", "TOOK", "LAST OK", "NEXT", "EVERY", "HOST", "")


def parser() -> Parser:
    made = Parser(
        "status",
        "How each job is doing, the worst first, from what a gateway holds. Jobs are\n"
        "groups with metrics of the vocabulary (batch_job_...); own metrics are left out.",
        "exit status: 0 all is well, 1 the gateway can't be read, 2 wrong usage, 3 a\n"
        "job's last run failed, a job is overdue, a run is stuck, runs start and none\n"
        "ends, a job never succeeded, or no job matches",
    )
    made.add_matchers("only jobs that match")
    text = "show it again and again, such as every 5s, until Ctrl-C"
    add_option(made, "--watch", "DURATION", text, read=readers.positive_duration)
    add_option(made, "--html", "FILE", "write a page to FILE instead: one file, for any browser")
    made.add_output("json", "quiet")
    made.add_gateway("request", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 3 where a job is bad or no job matches, else 0.

    Raises PushError where the gateway can't be read.
    """
    for other in ("watch", "html"):
        if options.json and getattr(options, other) is not None:
            raise UsageError(f"give either --{other} or --json, not both")
    matchers = options.read_matchers()
    settings = options.load_settings()
    gateway = settings.to_gateway()
    while True:
        try:
            picture = read_picture(gateway, matchers)
        except PushError as error:
            if waiting := waiting_line(settings):
                complain(waiting)
            if options.html is not None:
                write_error_page(options.html, gateway, error)
            if options.watch is None:
                raise
            complain(str(error))
        else:
            _show(picture, waiting_line(settings), gateway, matchers, options)
        if options.watch is None:
            # It is bad, too, when no job matches: it was never reported, or its group was deleted.
            is_bad = any(row.bad for row in picture.rows) or (matchers and not picture.rows)
            return _ALARM if is_bad else 0
        if sys.stdout is not None:
            sys.stdout.flush()
        time.sleep(options.watch)


def _show(
    picture: Picture,
    waiting: str,
    gateway: Gateway,
    matchers: Iterable[Matcher],
    options: ParsedOptions,
) -> None:
    if options.json:
        print_json([_as_json(row) for row in picture.rows])
        if waiting:
            complain(waiting)
        return
    if options.html is not None:
        write_status_page(options.html, gateway, picture, waiting)
        return
    if options.watch is not None and is_terminal():
        print(_CLEAR, end="")
    if picture.rows:
        _print_rows(picture.rows, picture.now)
    else:
        complain(f"{gateway.url} holds no {'matching ' if matchers else ''}job")
    if is_terminal() and (loss := _loss(gateway, picture.now)):  # for people: scripts read groups
        print(loss)
    if picture.refused:
        print(f"{counted(picture.refused, 'more group')} with a refused push: pushgate groups")
    if waiting:
        print(waiting)


def _print_rows(rows: list[JobRow], now: float) -> None:
    cells = [
        (
            row.name,
            (_last_run(row), _red(row, row.failed or row.stuck or row.ends_missing)),
            ago(row.at, now) if row.at else "-",
            "-" if row.duration is None else span(row.duration),
            ago(row.last_success, now),
            (next_run(row, now), _red(row, row.overdue)),
            span(row.interval) if row.interval else "",
            row.info.get("host", ""),
            (remarks(row, now), "yellow" if row.doubtful else ""),
        )
        for row in rows
    ]
    print_table(_HEADS, cells, optional=("HOST", "EVERY", "TOOK", "WHEN", "NEXT"))
    print(summary(rows))


def _loss(gateway: Gateway, now: float) -> str:
    with suppress(PushError):  # a proxy may let nothing through but groups
        return young_gateway(gateway.started_at(), now)
    return ""


def _last_run(row: JobRow) -> str:
    reason = row.info.get("exception")
    return (
        f"{last_run(row)} ({reason})" if row.failed and reason and not row.detail else last_run(row)
    )


def _red(row: JobRow, is_bad: bool) -> str:
    return "red" if is_bad and row.paused_until is None else ""


def _as_json(row: JobRow) -> dict[str, Any]:
    return {"name": row.name, "bad": row.bad, **vars(row)}
