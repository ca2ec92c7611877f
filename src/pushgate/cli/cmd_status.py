"""``pushgate status``: how each job is doing, the worst first, and an exit code for scripts."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PushError
from ..jobs.ages import roughly
from ..jobs.status import JobRow, job_rows
from ..protocol.timestamps import METRIC_PREFIX
from ..settings import readers
from .exit_status import UsageError, complain
from .formatting import ago, counted, is_terminal, print_json, print_table, span
from .parser import ParsedOptions, Parser, matching_groups, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..gateway.client import Gateway
    from ..jobs.matchers import Matcher
    from ..settings.loader import Settings

_ALARM = 3
_CLEAR = "\x1b[H\x1b[2J"
_HEADS = ("JOB", "LAST RUN", "WHEN", "TOOK", "LAST OK", "NEXT", "EVERY", "HOST", "")


class _Picture(NamedTuple):
    """What is shown: ``now`` is by the gateway's clock, ``refused`` counts groups without a row."""

    rows: list[JobRow]
    now: float
    refused: int
    waiting: str


def parser() -> Parser:
    """The command's parser."""
    made = Parser(
        "status",
        "How each job is doing, the worst first, from what a gateway holds. Jobs are\n"
        "groups with metrics of the vocabulary (batch_job_...); own metrics are left out.",
        "exit status: 0 all is well, 1 the gateway can't be read, 2 wrong usage, 3 a\n"
        "job's last run failed, a job is overdue, a run is stuck, runs start and none\n"
        "ends, a job never succeeded, or no job matches",
    )
    made.add_matchers("only jobs that match")
    made.add_argument(
        "--watch",
        type=value_of(readers.positive_duration),
        metavar="DURATION",
        help="show it again every 5s, or so; Ctrl-C ends that",
    )
    made.add_output("json", "quiet")
    made.add_gateway("request", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 3 where a job is bad or no job matches, else 0.

    Raises PushError where the gateway can't be read.
    """
    if options.watch is not None and options.json:
        raise UsageError("give either --watch or --json, not both")
    matchers = options.read_matchers()
    settings = options.load_settings()
    gateway = settings.to_gateway()
    while True:
        try:
            picture = _read(gateway, settings, matchers)
        except PushError as error:
            if waiting := _waiting(settings):
                complain(waiting)
            if options.watch is None:
                raise
            complain(str(error))
        else:
            if options.watch is not None and is_terminal():
                print(_CLEAR, end="")
            _show(picture, gateway, matchers, options)
        if options.watch is None:
            # It is bad, too, when no job matches: it was never reported, or its group was deleted.
            is_bad = any(row.bad for row in picture.rows) or (matchers and not picture.rows)
            return _ALARM if is_bad else 0
        if sys.stdout is not None:
            sys.stdout.flush()
        time.sleep(options.watch)


def _read(gateway: Gateway, settings: Settings, matchers: Iterable[Matcher]) -> _Picture:
    found, now = matching_groups(gateway, matchers)
    groups = [group.only(METRIC_PREFIX) for group in found]
    rows = job_rows(groups, now=now)
    known = {id(row.labels) for row in rows}
    refused = sum(not g.last_push_successful and id(g.labels) not in known for g in groups)
    return _Picture(rows, now, refused, _waiting(settings))


def _show(
    picture: _Picture, gateway: Gateway, matchers: Iterable[Matcher], options: ParsedOptions
) -> None:
    if options.json:
        print_json([_as_json(row) for row in picture.rows])
        if picture.waiting:
            complain(picture.waiting)
        return
    if picture.rows:
        _print_rows(picture.rows, picture.now)
    else:
        complain(f"{gateway.url} holds no {'matching ' if matchers else ''}job")
    if picture.refused:
        print(f"{counted(picture.refused, 'more group')} with a refused push: pushgate groups")
    if picture.waiting:
        print(picture.waiting)


def _waiting(settings: Settings) -> str:
    outbox = settings.to_outbox()
    if outbox is None or outbox.is_empty():
        return ""
    count = len(outbox.waiting(settings.url))
    text = f"{counted(count, 'group')} not delivered yet, in this host's outbox: pushgate flush"
    return text if count else ""


def _print_rows(rows: list[JobRow], now: float) -> None:
    cells = [
        (
            row.name,
            (_last(row), _red(row, row.failed or row.stuck or row.ends_missing)),
            ago(row.at, now) if row.at else "-",
            "-" if row.duration is None else span(row.duration),
            ago(row.last_success, now),
            (_next(row, now), _red(row, row.overdue)),
            span(row.interval) if row.interval else "",
            row.info.get("host", ""),
            (_notes(row, now), "yellow" if row.doubtful else ""),
        )
        for row in rows
    ]
    print_table(_HEADS, cells, optional=("HOST", "EVERY", "TOOK", "WHEN", "NEXT"))
    counts = {
        "to look at": sum(row.bad for row in rows),
        "in doubt": sum(row.doubtful and not row.bad for row in rows),
        "paused": sum(row.paused_until is not None for row in rows),
    }
    found = [f"{number} {what}" for what, number in counts.items() if number]
    print(f"{counted(len(rows), 'job')}, {', '.join(found) or 'all well'}")


def _red(row: JobRow, is_bad: bool) -> str:
    return "red" if is_bad and row.paused_until is None else ""


def _last(row: JobRow) -> str:
    text = f"{row.outcome} ({row.detail})" if row.detail else row.outcome
    if row.stuck:
        text = "stuck? running"
    elif row.ends_missing:
        text = "killed? running"
    return f"{text}, failed before" if row.failed and row.outcome != "failed" else text


def _next(row: JobRow, now: float) -> str:
    if row.due is None:
        return "-"
    if row.overdue:
        return f"overdue {roughly(now - row.due)}"
    return f"in {roughly(row.due - now)}" if row.due > now else "due"


def _notes(row: JobRow, now: float) -> str:
    notes = {
        f"paused for {roughly((row.paused_until or now) - now)}": row.paused_until,
        "runs start and none ends": row.ends_missing,
        "no run has ended yet": row.never_ended,
        "never succeeded": row.never_succeeded,
        "missed its deadline": row.missed_deadline,
        f"push refused {ago(row.push_failure_time, now)}": row.push_failing,
        f"no push for {roughly(now - row.push_time)}": row.stale,
        "a run vanished": row.vanished,
        f"its host's clock is {roughly(row.clock_ahead)} ahead": row.clock_ahead,
    }
    return ", ".join(text for text, holds in notes.items() if holds)


def _as_json(row: JobRow) -> dict[str, Any]:
    return {"name": row.name, "bad": row.bad, **vars(row)}
