"""``pushgate status``: how each job is doing, the worst first, and an exit code for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PushError
from ..jobs.ages import roughly
from ..jobs.status import JobRow, job_rows
from ..protocol.timestamps import METRIC_PREFIX
from .common_options import (
    MATCHERS,
    Parser,
    add_gateway_options,
    add_json_option,
    load_settings,
    matching_groups,
    read_matchers,
)
from .exit_status import complain
from .formatting import ago, counted, print_json, print_table, span

if TYPE_CHECKING:
    from ..settings.loader import Settings

_ALARM = 3


def main(arguments: list[str]) -> int:
    """Returns 3 where a job is bad or no job matches, else 0.

    Raises PushError where the gateway can't be read.
    """
    options = _parser().parse_args(arguments)
    matchers = read_matchers(options.matchers)
    settings = load_settings(options)
    gateway = settings.to_gateway()
    try:
        found, now = matching_groups(gateway, matchers)
        groups = [group.only(METRIC_PREFIX) for group in found]
    except PushError:
        if waiting := _waiting(settings):
            complain(waiting)
        raise
    rows = job_rows(groups, now=now)
    waiting = _waiting(settings)
    if options.json:
        print_json([_as_json(row) for row in rows])
        if waiting:
            complain(waiting)
    else:
        if rows:
            _print(rows, now)
        else:
            complain(f"{gateway.url} holds no {'matching ' if matchers else ''}job")
        known = [row.labels for row in rows]
        refused = [g for g in groups if not g.last_push_successful and g.labels not in known]
        if refused:
            print(f"{counted(len(refused), 'more group')} with a refused push: pushgate groups")
        if waiting:
            print(waiting)
    # It is bad, too, when no job matches: it was never reported, or its group was deleted.
    return _ALARM if any(row.bad for row in rows) or (matchers and not rows) else 0


def _parser() -> Parser:
    parser = Parser(
        "status",
        "How each job is doing, the worst first, from what a gateway holds. Jobs are groups\n"
        "with metrics of the vocabulary (batch_job_...); their own metrics are left out.",
        f"{MATCHERS}\n\n"
        "exit status: 0 all is well, 1 the gateway can't be read, 2 wrong usage, 3 a job's\n"
        "last run failed, a job is overdue, a run is stuck, runs start and none ends, a job\n"
        "never succeeded, or no job matches",
    )
    parser.add_argument("matchers", nargs="*", metavar="MATCHER", help="only jobs that match all")
    add_json_option(parser)
    add_gateway_options(parser)
    return parser


def _waiting(settings: Settings) -> str:
    outbox = settings.to_outbox()
    if outbox is None or outbox.is_empty():
        return ""
    count = len(outbox.waiting(settings.url))
    text = f"{counted(count, 'group')} not delivered yet, in this host's outbox: pushgate flush"
    return text if count else ""


def _print(rows: list[JobRow], now: float) -> None:
    cells = [
        (
            row.name,
            (_last(row), "red" if row.failed or row.stuck or row.ends_missing else ""),
            ago(row.at, now) if row.at else "-",
            "-" if row.duration is None else span(row.duration),
            (_next(row, now), "red" if row.overdue else ""),
            (_notes(row, now), "yellow" if row.doubtful else ""),
        )
        for row in rows
    ]
    print_table(("JOB", "LAST RUN", "WHEN", "TOOK", "NEXT", ""), cells)
    bad, doubtful = sum(row.bad for row in rows), sum(row.doubtful and not row.bad for row in rows)
    found = [f"{bad} to look at"] * bool(bad) + [f"{doubtful} in doubt"] * bool(doubtful)
    print(f"{counted(len(rows), 'job')}, {', '.join(found) or 'all well'}")


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
