"""The command line: finds the command and runs it.

Each command is a module ``cmd_<command>`` with ``main(arguments) -> int``. It is imported only when
it is used: an import must not slow down another command. ``run`` starts with every job, so nothing
is imported before it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("main",)

_COMMANDS = (
    "run",
    "start",
    "finish",
    "push",
    "status",
    "groups",
    "show",
    "delete",
    "prune",
    "flush",
    "doctor",
    "rules",
    "dashboard",
    "scrape-config",
    "gateway",
)

_HELP = """\
pushgate - the outcome of every batch job in Prometheus, through a Pushgateway

usage: pushgate COMMAND [options], COMMAND --help, --help or --version
  run --job NAME -- COMMAND ...      run a command, push how it went
  start, finish --job NAME           in a script: the job starts, has ended
  push --job NAME [--add] [FILE|-]   push Prometheus text
  flush [--list]                     deliver what waits in this host's outbox
  status [MATCHER ...]               how each job is doing, the worst first
  groups [MATCHER ...], show         the gateway's groups; with their metrics
  delete --job NAME | --match ...    delete one group, or all that match
  prune --older-than 7d [--dry-run]  delete groups that nobody pushes any more
  doctor [--push]                    find what is wrong, and what to do about it
  rules, dashboard, scrape-config    for Prometheus and Grafana
  gateway                            an in-memory gateway, for development

settings; the first source that has one counts:
  flags        --gateway, --timeout, ...; 'pushgate push --help' lists all
  environment  PUSHGATE_GATEWAY, PUSHGATE_TIMEOUT, ...; also PUSHGATEWAY_URL
  file         --config or PUSHGATE_CONFIG, else ~/.config/pushgate/config.toml,
               else /etc/pushgate/config.toml
Secrets never go into arguments: set PUSHGATE_PASSWORD or PUSHGATE_TOKEN to the
secret itself or to file:/path.

exit status: 0 done, 1 not delivered, 2 wrong usage; run: the command's or 125
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv``, by default the process's. Returns the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if command == "run":
        # Without a guard: it has exit codes of its own and never writes to stdout.
        from .cmd_run import main as run

        code = run(rest)
        if argv is None:
            # A thread may hang in a push. Python's shutdown takes 10 ms, and has crashed on it.
            _end_process(code)
        return code
    from .exit_status import guarded

    return guarded(lambda: _dispatch(command, rest))


def _end_process(code: int) -> None:
    from os import _exit

    try:  # noqa: SIM105 - contextlib is an import that every job would wait for
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # it is closed
    _exit(code)


def _dispatch(command: str, rest: list[str]) -> int:
    if command == "help":
        command, rest = (rest[0], ["--help"]) if rest else ("--help", [])
    if command in _COMMANDS:
        from importlib import import_module

        module = command.replace("-", "_")
        return int(import_module(f".cmd_{module}", __name__).main(rest))
    if command in ("--help", "-h"):
        sys.stdout.write(_HELP)
        return 0
    if command == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"pushgate {version('pushgate')}\n")
        return 0
    from .exit_status import UsageError

    raise UsageError(_what_is_wrong(command))


def _what_is_wrong(command: str) -> str:
    if not command:
        return "give a command; see 'pushgate --help'"
    if command.startswith("-"):
        return f"there is no option {command!r} before the command; see 'pushgate --help'"
    from ..settings.option_table import did_you_mean

    advice = did_you_mean(command, _COMMANDS) or f"; there are {', '.join(_COMMANDS)}"
    return f"there is no command {command!r}{advice}"
