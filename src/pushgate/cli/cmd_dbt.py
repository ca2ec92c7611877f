"""``pushgate dbt``: pushes how dbt's last invocation went, from the file that it wrote."""

from __future__ import annotations

import os
import socket
import time

from ..delivery.direct_sink import DirectSink
from ..delivery.messages import was_kept
from ..jobs.ages import ago
from ..jobs.runs import JobRun
from ..jobs.schedule import with_schedule
from ..log import RateLimitedLogger
from ..settings import readers
from .exit_status import CommandError, complain
from .parsed_options import ParsedOptions
from .parser import Parser, value_of

_MAX_AGE = 3600.0  # seconds


def parser() -> Parser:
    made = Parser(
        "dbt",
        "Push how dbt's last invocation went: its outcome, and what became of each node.\n"
        "What can't be delivered waits in the outbox.",
        "example: dbt build; pushgate dbt --job nightly-dbt --expect-every 24h",
    )
    made.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="target/run_results.json, or that in $DBT_TARGET_PATH",
    )
    made.add_group(job_required=False)
    made.set_defaults(job="dbt")
    made.add_argument(
        "--models",
        action="store_true",
        help="also a group for each model, seed and snapshot",
    )
    made.add_argument(
        "--max-age",
        type=value_of(readers.duration),
        default=_MAX_AGE,
        metavar="DURATION",
        help="an older FILE is an error: dbt has written none since (1h)",
    )
    made.add_argument(
        "--expect-every",
        type=value_of(readers.schedule),
        metavar="SCHEDULE",
        help="for the alert on missed runs, as of 'pushgate start'",
    )
    made.add_output("quiet")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 where all is delivered or waits in the outbox, else 1. Raises CommandError."""
    import pushgate_dbt

    key = options.grouping_key()
    settings = options.load_settings()
    log = RateLimitedLogger(complain)
    gateway = settings.to_gateway(settings.to_outbox(log))
    file = options.file or os.path.join(
        os.environ.get("DBT_TARGET_PATH") or "target", "run_results.json"
    )
    try:
        with open(file, encoding="utf-8") as opened:
            invocation = pushgate_dbt.read(opened.read())
        now = time.time()
        if now - invocation.ended_at > options.max_age:
            raise pushgate_dbt.RunResultsError(
                f"it was written {ago(invocation.ended_at, now)}, and dbt has written none since:"
                " see why its last run failed, or give a longer --max-age"
            )
        scheduled = with_schedule(
            JobRun(key, invocation.started_at, host=socket.gethostname()),
            options.expect_every,
            log.warning,
        )
        reports = list(pushgate_dbt.reports(invocation, scheduled, models=options.models))
    except FileNotFoundError:
        raise CommandError(f"{file}: there is no such file; run this where dbt runs") from None
    except (pushgate_dbt.RunResultsError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}") from None
    sink = DirectSink(gateway, timeout=settings.timeout, log=log)
    sink.deliver(lambda: reports, f"the push for {key}")
    return 0 if sink.last_error is None or was_kept(sink.last_error) else 1
