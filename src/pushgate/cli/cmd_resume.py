"""``pushgate resume``: ends a pause."""

from __future__ import annotations

from .cmd_pause import mark_paused
from .parsed_options import ParsedOptions
from .parser import Parser


def parser() -> Parser:
    made = Parser("resume", "End the pause of the jobs that match.")
    made.add_matchers("the jobs to resume")
    made.add_output("json", "quiet")
    made.add_gateway("request", "push")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0. Raises CommandError where no job matches."""
    return mark_paused(options, 0.0)
