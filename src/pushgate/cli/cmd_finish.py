"""``pushgate finish``: the run that ``pushgate start`` began has ended.

The exit code is 0 whether or not the push arrives, and for wrong options too.
"""

from __future__ import annotations

from ..log import RateLimitedLogger
from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    exit_codes,
    gateway_or_complaint,
    grouping_key,
)
from .exit_status import complain, harmless

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Report the end. Returns 0, whatever is wrong: that is said."""
    return harmless(lambda: _finish(arguments))


def _finish(arguments: list[str]) -> int:
    parser = Parser("finish", "Report that a job has ended, after 'pushgate start'.")
    add_group_options(parser)
    parser.add_argument(
        "--exit-code", type=exit_codes, required=True, metavar="N", help="the job's: $?"
    )
    parser.add_argument(
        "--success-codes",
        type=exit_codes,
        default=frozenset({0}),
        metavar="N,...",
        help="exit codes that count as success",
    )
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    if len(options.exit_code) != 1:
        parser.error("--exit-code takes one number")
    key = grouping_key(options)
    from pushgate_subprocess._script import finish

    log = RateLimitedLogger(complain)
    gateway = gateway_or_complaint(options, timeout=10.0, say=complain)
    finish(
        key,
        gateway,
        exit_code=min(options.exit_code),
        success_codes=options.success_codes,
        log=log,
    )
    return 0
