"""``pushgate start``: a run of a script that can't be wrapped begins.

The exit code is 0 whether or not the push arrives, and for wrong options too: a script with
``set -e`` must not end because of its monitoring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..log import RateLimitedLogger
from ..settings import readers
from .exit_status import complain
from .parsed_options import ParsedOptions
from .parser import Parser, add_option
from .run_help import EXPECT_EVERY

if TYPE_CHECKING:
    from ..gateway.client import Gateway

_TIMEOUT = 2.0  # seconds


def parser() -> Parser:
    made = Parser(
        "start",
        "Report that a job starts, from a script that can't be wrapped. Unless --timeout\n"
        "says otherwise, the script waits for the push for 2 seconds at most.",
    )
    made.add_group()
    add_option(made, "--expect-every", "SCHEDULE", EXPECT_EVERY, read=readers.schedule)
    made.add_output("quiet")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Report the start. Returns 0."""
    key = options.grouping_key()
    from pushgate_subprocess._script import start

    gateway, log = open_gateway(options, _TIMEOUT)
    start(key, gateway, expect_every=options.expect_every, log=log)
    return 0


def open_gateway(
    options: ParsedOptions, timeout: float
) -> tuple[Gateway | None, RateLimitedLogger]:
    """The gateway with its outbox, None where the settings are wrong, and what writes lines.

    The script goes on although its monitoring is broken. ``timeout``, in seconds, is for a
    configuration without one.
    """
    log = RateLimitedLogger(complain)
    try:
        settings = options.load_settings()
        if "timeout" not in settings.origins:
            settings = settings._replace(timeout=timeout)
        return settings.to_gateway(settings.to_outbox(log)), log
    except SettingsError as error:
        complain(str(error))
        return None, log
