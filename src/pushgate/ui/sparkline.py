"""A job's last runs as a small drawing: outcomes as bars, the duration as a line above them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..jobs.ages import span
from .history import RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .history import PastRun

_STEP = 4  # units from bar to bar; 3 is a bar's width
_HEIGHT = 30
_BARS = 12  # units from the bottom; a failure is as high, a success half of that


def sparkline(runs: Sequence[PastRun]) -> str:
    """An SVG of the last runs, the newest at the right end; empty where there is none."""
    runs = runs[-RUNS:]
    if not runs:
        return ""
    first = RUNS - len(runs)
    bars = {True: "", False: ""}
    for i, run in enumerate(runs, first):
        high = _BARS // 2 if run.succeeded else _BARS
        bars[run.succeeded] += f"M{i * _STEP} {_HEIGHT}v-{high}h3v{high}z"
    drawn = [
        f'<path class="{kind}" d="{path}"/>'
        for kind, path in (("ok", bars[True]), ("failed", bars[False]))
        if path
    ]
    took = [(i, run.duration) for i, run in enumerate(runs, first) if run.duration is not None]
    if longest := max((duration for _, duration in took), default=0.0):
        room = _HEIGHT - _BARS - 3
        points = [f"{i * _STEP + 1.5:g},{1 + room * (1 - d / longest):.1f}" for i, d in took]
        drawn.append(f'<polyline class="took" points="{" ".join(points)}"/>')
    text = escape(_words(runs, [duration for _, duration in took]))
    return (
        f'<svg role="img" viewBox="0 0 {RUNS * _STEP} {_HEIGHT}" aria-label="{text}">'
        f"<title>{text}</title>{''.join(drawn)}</svg>"
    )


def _words(runs: Sequence[PastRun], took: Sequence[float]) -> str:
    good = sum(run.succeeded for run in runs)
    text = f"{good} of the last {len(runs)} runs succeeded"
    if took:
        shortest, longest = span(min(took)), span(max(took))
        between = shortest if shortest == longest else f"{shortest} to {longest}"
        text += f", they took {between}"
    return text
