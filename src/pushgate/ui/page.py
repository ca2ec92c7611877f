"""The page as a text of HTML: a view in, a page out. Pure.

Whatever others pushed is escaped, only http and https links are made, and the policy in the page
lets nothing run or load but what the page itself has.
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import groupby, takewhile
from string import Template
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ..jobs.ages import ago, counted, roughly, span
from ..jobs.row_texts import last_run, next_run, remarks, summary
from ..protocol.timestamps import is_possible_time
from .history import job_key
from .sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..jobs.picture import Picture
    from ..jobs.status import JobRow
    from .history import JobKey, PastRun

_HEADS = ("Job", "Last run", "When", "Took", "Last ok", "Next", "Every", "Host")
_SECTIONS = {"bad": "To look at", "doubt": "In doubt", "good": "The others"}
_YOUNG = 3600.0  # seconds; so long after its start it is said what a gateway may have lost
_ERROR = re.compile('(<p id="error" role="alert">)[^<]*(</p>)')
_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>"
    "<circle cx='4' cy='4' r='4' fill='{}'/></svg>"
)


class View(NamedTuple):
    """What a page shows.

    ``picture`` was taken at ``taken_at``, in Unix seconds by this host's clock; it is None before
    the gateway could be read once. ``error`` says why there is none that is newer. ``started_at``
    is when the gateway was started, by its own clock. ``notes`` are lines above the jobs.
    ``history`` are runs by job, the oldest first; None where nobody asked for them.
    """

    url: str
    picture: Picture | None = None
    taken_at: float = 0.0
    error: str = ""
    started_at: float | None = None
    notes: tuple[str, ...] = ()
    history: Mapping[JobKey, list[PastRun]] | None = None


def page(view: View, *, reload: float = 0) -> str:
    """The whole page, which loads itself anew every ``reload`` seconds; 0 is never."""
    rows = view.picture.rows if view.picture else []
    bad = sum(row.bad for row in rows)
    color = "#c33" if bad or view.error else "#393"
    return Template(_file("page.html")).substitute(
        policy=policy(),
        title=f"{f'({bad}) ' if bad else ''}jobs of {escape(view.url)}",
        icon="data:image/svg+xml," + quote(_ICON.format(color)),
        style=_file("page.css"),
        script=_file("page.js"),
        reload=f"{reload:g}",
        summary=escape(summary(rows)) if rows else "",
        error=_error_text(view.error, view.picture is not None),
        taken=f"{view.taken_at:.0f}",
        picture=_picture(view, view.picture) if view.picture else "",
    )


def with_error(text: str, error: str) -> str | None:
    """An older page, which says now why there is no newer one; None where it is no page."""
    shown = _error_text(error, '<p class="facts">' in text)
    changed, count = _ERROR.subn(lambda match: match[1] + shown + match[2], text)
    return changed if count == 1 else None


@cache
def policy() -> str:
    """The Content-Security-Policy: this page's own script and style, by their hashes."""
    script, style = (
        b64encode(sha256(_file(name).encode()).digest()).decode()
        for name in ("page.js", "page.css")
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}';"
        " img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _error_text(error: str, has_picture: bool) -> str:
    if not error:
        return ""
    rest = " Below is what it held before." if has_picture else ""
    return escape(f"The gateway can't be read: {error}; see pushgate doctor.{rest}")


def _picture(view: View, picture: Picture) -> str:
    parts = [_facts(view, picture)]
    parts += [f'<p class="note">{escape(note)}</p>' for note in view.notes]
    if picture.rows:
        parts.append(_table(picture, view.history))
    else:
        parts.append(
            "<p>There is no job to show. A job is here from its first run on:"
            " <code>pushgate run --job NAME -- COMMAND</code></p>"
        )
    return "\n".join(parts)


def _facts(view: View, picture: Picture) -> str:
    taken = datetime.fromtimestamp(view.taken_at, UTC)
    refused = picture.refused + sum(row.push_failing for row in picture.rows)
    facts = [
        f'As of <time datetime="{taken:%Y-%m-%dT%H:%M:%SZ}">{taken:%Y-%m-%d %H:%M:%S} UTC</time>,'
        ' <span id="age"></span>',
        f"gateway <bdi>{escape(view.url)}</bdi>",
    ]
    if view.started_at is not None:
        facts.append(f"up for {roughly(picture.now - view.started_at)}")
    facts.append(counted(picture.groups, "group"))
    refusals = f"<b>{counted(refused, 'group')} with a refused push</b>"
    facts.append(refusals if refused else "no refused push")
    text = f'<p class="facts">{" · ".join(facts)}</p>'
    if view.started_at is not None and picture.now - view.started_at < _YOUNG:
        text += (
            f'<p class="note">The gateway was started {ago(view.started_at, picture.now)}. Groups'
            " from before are here only if it has <code>--persistence.file</code>; else each job is"
            " back with its next run.</p>"
        )
    return text


def _table(picture: Picture, history: Mapping[JobKey, list[PastRun]] | None) -> str:
    heads = [*_HEADS, *(["Last 30 runs"] if history is not None else [])]
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in heads)
    parts = [
        f'<table role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>',
    ]
    for kind, rows in groupby(picture.rows, _kind):
        cells = [_row(row, kind, picture.now, history) for row in rows]
        parts.append(
            f'<tbody class="{kind}" role="rowgroup"><tr class="section" role="row">'
            f'<th role="rowheader" scope="rowgroup" colspan="{len(heads)}">'
            f"{_SECTIONS[kind]} · {len(cells)}</th></tr>"
        )
        parts += [*cells, "</tbody>"]
    return "\n".join([*parts, "</table>"])


def _kind(row: JobRow) -> str:
    return "bad" if row.bad else "doubt" if row.doubtful else "good"


def _row(row: JobRow, kind: str, now: float, history: Mapping[JobKey, list[PastRun]] | None) -> str:
    runs = (history or {}).get(job_key(row.labels), [])
    host = row.info.get("host")
    name, remark = escape(row.name), escape(remarks(row, now))
    name = f"<bdi>{name}</bdi>" + (f'<small class="remark">{remark}</small>' if remark else "")
    cells = [
        f'<th role="rowheader" scope="row">{name}</th>',
        f'<td role="cell" class="run">{_last_run(row, kind, runs, now)}</td>',
        _cell("When", _time(row.at, now) if row.at else ""),
        _cell("Took", "" if row.duration is None else span(row.duration)),
        _cell("Last ok", _time(row.last_success, now)),
        _cell("Next", "" if row.due is None else _verdict(next_run(row, now), kind, row.overdue)),
        _cell("Every", span(row.interval) if row.interval else ""),
        _cell("Host", f"<bdi>{escape(host)}</bdi>" if host else "", "host"),
    ]
    if history is not None:
        cells.append(_cell("", sparkline(runs)))
    return f'<tr class="job" role="row">{"".join(cells)}</tr>'


def _cell(label: str, content: str, kind: str = "") -> str:
    name = f' data-label="{label}"' if label else ""
    return f'<td role="cell"{name} class="{kind if content else "empty"}">{content}</td>'


def _last_run(row: JobRow, kind: str, runs: Sequence[PastRun], now: float) -> str:
    text = _verdict(last_run(row), kind, row.failed or row.stuck or row.ends_missing)
    link = _link(row)
    # The link leads to the run; without one, its id is what to search for.
    shown = ("exception",) if link else ("exception", "run_id")
    details = [row.info[name] for name in shown if row.info.get(name) not in (None, row.detail)]
    small = "".join(f"<small><bdi>{escape(detail)}</bdi></small>" for detail in details)
    failures = list(takewhile(lambda run: not run.succeeded, reversed(runs)))
    if row.failed and len(failures) > 1:
        since = _time(failures[-1].ended_at, now)
        small = f"<small>{len(failures)} in a row, since {since}</small>{small}"
    return f"{text} {link}{small}"


def _verdict(text: str, kind: str, is_why: bool) -> str:
    """``text``, marked where it ``is_why`` a job is bad: not by its colour alone."""
    if kind != "bad" or not is_why:
        return escape(text)
    return f'<strong><span aria-hidden="true">✕</span> {escape(text)}</strong>'


def _link(row: JobRow) -> str:
    """A link to the log. Anybody may push any text: what is no web address makes none."""
    url = row.info.get("url", "")
    if not url.lower().startswith(("http://", "https://")):
        return ""
    label = escape(f"log of {row.name}")
    return f'<a href="{escape(url)}" aria-label="{label}" target="_blank" rel="noreferrer">log</a>'


def _time(when: float | None, now: float) -> str:
    if not when or not is_possible_time(when):
        return escape(ago(when, now))
    at = datetime.fromtimestamp(when, UTC)
    text = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    title = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return f'<time datetime="{text}" title="{title}">{ago(when, now)}</time>'
