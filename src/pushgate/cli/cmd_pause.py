"""``pushgate pause``: nobody is alarmed by a job for a while.

The pause is a metric in the job's own group, so that status, alerts and the dashboard see it. It is
a time, so that it ends by itself.
"""

from __future__ import annotations

import time

from ..jobs.ages import span
from ..jobs.matchers import matches
from ..jobs.status import job_rows
from ..jobs.vocabulary import pause_families
from ..protocol.grouping_key import GroupingKey
from ..protocol.names import selector
from ..protocol.timestamps import METRIC_PREFIX
from ..settings import readers
from .exit_status import CommandError, UsageError
from .formatting import print_json, printable
from .parsed_options import ParsedOptions, matching_groups
from .parser import Parser, add_option

_LONGEST = 31 * 86_400.0  # seconds


def parser() -> Parser:
    made = Parser(
        "pause",
        "Pause the alarms of the jobs that match: they are shown as paused, and neither\n"
        "'pushgate status' nor an alert calls them bad. Their runs and pushes go on as\n"
        "always. The pause ends by itself, or by 'pushgate resume'.",
        "example: pushgate pause nightly-backup --for 2h",
    )
    made.add_matchers("the jobs to pause")
    text = "for how long, such as 30m, 2h or 3d; 31d at most"
    add_option(made, "--for", "DURATION", text, read=readers.age, required=True, dest="seconds")
    made.add_output("json", "quiet")
    made.add_gateway("request", "push")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0. Raises CommandError where no job matches."""
    if options.seconds > _LONGEST:
        raise UsageError("--for: 31d is the longest; delete the group of a job that is gone")
    return mark_paused(options, options.seconds)


def mark_paused(options: ParsedOptions, seconds: float) -> int:
    """Pause all jobs that match for so long, or end their pause for 0. Returns 0."""
    matchers = options.read_matchers()
    if not matchers:
        raise UsageError("give a job's name or a MATCHER; 'job=~.+' is all jobs")
    if seconds and matches({}, matchers):  # most often a script's variable was empty
        raise UsageError("this is every job without that label; to pause them, add 'job=~.+'")
    settings = options.load_settings()
    gateway = settings.to_gateway()
    found, now = matching_groups(gateway, matchers)
    rows = job_rows((group.only(METRIC_PREFIX) for group in found), now=now)
    if not rows:
        raise CommandError(f"{gateway.url} holds no matching job")
    until = now + seconds if seconds else 0.0
    for row in rows:
        labels = dict(row.labels)
        key = GroupingKey(labels.pop("job"), labels, utf8_names=settings.utf8_names)
        gateway.pushadd(key, pause_families(until))
        if not options.json:
            local = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds))
            state = f"paused for {span(seconds)}, until {local}" if seconds else "resumed"
            print(printable(f"{selector(row.labels)}  {state}"))
    if options.json:
        print_json([{"labels": row.labels, "paused_until": until or None} for row in rows])
    return 0
