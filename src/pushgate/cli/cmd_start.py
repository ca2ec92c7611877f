"""``pushgate start``: a run of a script that can't be wrapped begins.

The exit code is 0 whether or not the push arrives, and for wrong options too: a script with
``set -e`` must not end because of its monitoring.
"""

from __future__ import annotations

from ..log import RateLimitedLogger
from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    duration,
    gateway_or_complaint,
    grouping_key,
)
from .exit_status import complain, harmless

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Report the start. Returns 0, whatever is wrong: that is said."""
    return harmless(lambda: _start(arguments))


def _start(arguments: list[str]) -> int:
    parser = Parser(
        "start",
        "Report that a job starts, from a script that can't be wrapped. Unless --timeout says\n"
        "otherwise, the script waits for the push for 2 seconds at most.",
    )
    add_group_options(parser)
    parser.add_argument(
        "--expect-every",
        type=duration,
        metavar="DURATION",
        help="the schedule's period, such as 24h, for the alert on missed runs",
    )
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    key = grouping_key(options)
    from pushgate_subprocess._script import start

    log = RateLimitedLogger(complain)
    gateway = gateway_or_complaint(options, timeout=2.0, say=complain)
    start(key, gateway, expect_every=options.expect_every, log=log)
    return 0
