"""The command line: finds the command and runs it.

Each command is a module ``cmd_<command>`` with ``parser()``, which makes its parser, and
``run(options)``, which returns the exit code. It is imported only when it is used: an import must
not slow down another command. ``pushgate run`` starts with every job, so nothing is imported
before it; it reads its arguments itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("COMMANDS", "main", "overview")

COMMANDS = {
    "run": "run a command and push how it went",
    "start": "a script's job starts",
    "finish": "a script's job has ended",
    "push": "push Prometheus text",
    "dbt": "push how dbt's last invocation went",
    "status": "how each job is doing, the worst first",
    "ui": "a page of all jobs, on loopback",
    "pause": "no alarms of a job for a while",
    "resume": "end a pause",
    "groups": "the gateway's groups",
    "show": "the gateway's groups with their metrics",
    "delete": "delete one group, or all that match",
    "prune": "delete groups that nobody pushes to any more",
    "flush": "deliver what waits in this host's outbox",
    "doctor": "find what is wrong, and what to do about it",
    "rules": "alert rules for Prometheus",
    "dashboard": "a dashboard for Grafana",
    "scrape-config": "the scrape configuration for Prometheus",
    "gateway": "an in-memory gateway, for development",
    "completion": "a script by which a shell completes commands and options",
    "man": "the page of the manual",
}
_HELP = """\
pushgate - the outcome of every batch job in Prometheus, through a Pushgateway

usage: pushgate COMMAND [options], help COMMAND, -V or --version
  run --job NAME -- COMMAND ...      run a command, push how it went
  start, finish --job NAME           in a script: the job starts, has ended
  push --job NAME [FILE|-], dbt      push Prometheus text; what dbt wrote
  flush [--list]                     deliver what waits in this host's outbox
  status [MATCHER ...], ui           how each job is doing, worst first; a page
  pause JOB --for 2h, resume JOB     no alarms of a job for a while
  groups, show [MATCHER ...]         the gateway's groups; with their metrics
  delete MATCHER ... | --job NAME    delete all groups that match, or one group
  prune --older-than 7d [--dry-run]  delete groups that nobody pushes any more
  doctor [--push]                    find what is wrong, and what to do about it
  rules, dashboard, scrape-config    for Prometheus and Grafana
  gateway, completion, man           a gateway in memory; for the shell

settings; the first source that has one counts:
  flags        --gateway, --timeout, ...; 'pushgate push --help' lists all
  environment  PUSHGATE_GATEWAY, PUSHGATE_TIMEOUT, ...; also PUSHGATEWAY_URL
  file         --config or PUSHGATE_CONFIG, else ~/.config/pushgate/config.toml,
               else /etc/pushgate/config.toml
Secrets: set PUSHGATE_PASSWORD or PUSHGATE_TOKEN to them, or to file:/path.

exit status: 0 done, 1 not delivered, 2 wrong usage; run: the command's or 125
"""
_IN_SCRIPTS = ("start", "finish")  # a script with "set -e" must not end because of its monitoring


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv``, by default the process's. Returns the exit code."""
    if argv is None:
        _put_library_first()
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command == "run":
        # Without a guard: it has exit codes of its own and never writes to stdout.
        from .cmd_run import main as run

        code = run(rest)
        if argv is None:
            # A thread may hang in a push. Python's shutdown takes 10 ms, and has crashed on it.
            _end_process(code)
        return code
    from .exit_status import guarded, harmless

    return (harmless if command in _IN_SCRIPTS else guarded)(lambda: _dispatch(command, rest))


def overview() -> str:
    """The help on all commands."""
    return _HELP


def _put_library_first() -> None:
    """Import no module of the job, such as ``signal.py``, in place of the standard library's.

    They are in PYTHONPATH, which is meant for the job, or in the folder of ``python -m``.
    """
    from os import __file__ as inside

    library = inside.rpartition("/")[0]
    first = [folder for folder in sys.path if folder in (library, f"{library}/lib-dynload")]
    sys.path[:] = [*first, *(folder for folder in sys.path if folder not in first)]


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
    if command in COMMANDS:
        from importlib import import_module

        from .exit_status import silenced

        module = import_module(f".cmd_{command.replace('-', '_')}", __name__)
        options = module.parser().parse_args(rest)
        if options.quiet:
            return silenced(lambda: int(module.run(options)))
        return int(module.run(options))
    if command in ("--help", "-h"):
        print(overview(), end="")
        return 0
    if command in ("--version", "-V"):
        from importlib.metadata import version

        print(f"pushgate {version('pushgate')}")
        return 0
    from .exit_status import UsageError

    raise UsageError(_what_is_wrong(command))


def _what_is_wrong(command: str) -> str:
    from ..settings.option_table import did_you_mean

    if command.startswith("-"):
        advice = did_you_mean(command, ("--help", "--version")) or "; write it after the command"
        return f"there is no option {command} before the command{advice}"
    advice = did_you_mean(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
    return f"there is no command {command!r}{advice}"
