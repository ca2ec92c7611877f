"""``pushgate finish``: the run that ``pushgate start`` began has ended.

The exit code is 0 whether or not the push arrives, and for wrong options too.
"""

from __future__ import annotations

from ..settings import readers
from .cmd_start import open_gateway
from .exit_status import UsageError
from .parsed_options import ParsedOptions
from .parser import Parser, add_option

_TIMEOUT = 10.0  # seconds
_EPILOG = """\
in a script: without the second line, one that is ended by a signal is a success
in bash, and no end in other shells:
  trap 'pushgate finish --job backup --exit-code $?' EXIT
  trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
"""


def parser() -> Parser:
    made = Parser("finish", "Report that a job has ended, after 'pushgate start'.", _EPILOG)
    made.add_group()
    codes = readers.exit_codes
    add_option(made, "--exit-code", "N", "the job's: $?", read=codes, required=True)
    text = "exit codes that count as success"
    add_option(made, "--success-codes", "N,...", text, read=codes, default=frozenset({0}))
    made.add_output("quiet")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Report the end. Returns 0."""
    if len(options.exit_code) != 1:
        raise UsageError("--exit-code takes one number")
    key = options.grouping_key()
    from pushgate_subprocess._script import finish

    gateway, log = open_gateway(options, _TIMEOUT)
    (code,) = options.exit_code
    finish(key, gateway, exit_code=code, success_codes=options.success_codes, log=log)
    return 0
