"""``pushgate run``: which words are options, and which are the command.

Not argparse: it would start the command 7 ms later, and it moves words between our options and the
command's. The values are read by the common table of options; ``run_help.py`` has the help.
"""

from __future__ import annotations

import os

from pushgate_subprocess._run_options import READERS, RunOptions

from ..settings import readers
from ..settings.option_table import OptionSource, read_options

TYPE_CHECKING = False  # type checkers take it for typing's, which would delay the command
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .parser import Parser


def parser() -> Parser:
    from .run_help import parser

    return parser()


def main(arguments: list[str]) -> int:
    """Run the command in ``arguments``. Returns its exit code, or 125 for wrong options."""
    try:
        given, command = _split(arguments)
        options = None if given is None else _read(given)
    except ValueError as error:
        os.write(2, f"pushgate run: {error}; see 'pushgate run --help'\n".encode(errors="replace"))
        return 125
    if options is None:
        from .exit_status import guarded

        return guarded(lambda: parser().parse_args(["--help"]) and 0)
    try:
        import fcntl  # noqa: F401 - which the wrapper needs, and Windows has not
    except ImportError:
        os.write(2, b"pushgate run needs Linux, macOS or another POSIX system\n")
        return 125
    from pushgate_subprocess._wrapper import wrap

    return wrap(command, options)


def _split(arguments: list[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """The options as written, None for --help, and the untouched command. Raises ValueError."""
    given: dict[str, Any] = {}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        word = arguments[at]
        at += 1
        if word == "--":
            break
        written, equals, value = word.partition("=")
        written = _SHORT.get(written, written)
        if written == "--help":
            return None, []
        if written not in _OPTIONS:
            from .unknown_option import what_is_wrong_with

            raise ValueError(what_is_wrong_with(written, _OPTIONS))
        name = _OPTIONS[written]
        if name in _SWITCHES:
            if equals:
                raise ValueError(f"{written} takes no value")
            given[name] = True
            continue
        if not equals:
            if at == len(arguments):
                raise ValueError(f"{written} needs a value")
            value = arguments[at]
            at += 1
        if name in _REPEATED:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    if "job" not in given:
        raise ValueError("give the job's name: --job NAME")
    if at == len(arguments):
        raise ValueError("give a command to run after the options")
    return given, arguments[at:]


def _read(given: dict[str, Any]) -> RunOptions:
    values, _ = read_options(_TABLE, OptionSource(given, _option))
    settings = {field: values.pop(name) for name, field in _SETTINGS.items() if name in values}
    loud, quiet = values.pop("verbose", False), values.pop("quiet", False)
    if values.pop("no_start_push", False):
        values["start_push"] = False
    return RunOptions(settings=settings, verbosity=-1 if quiet else int(loud), **values)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_given(value: Any, _source: OptionSource) -> Any:
    """Read when the gateway is looked for: a wrong setting does not keep the job from running."""
    return value


def _job(value: str, _source: OptionSource) -> str:
    if not value:
        raise ValueError("the job's name is empty")
    return value


def _signal(value: str, _source: OptionSource) -> int:
    import signal

    name = value.upper().removeprefix("SIG")
    number = int(value) if value.isdecimal() else 0
    if name.isalnum():  # not "_IGN": SIG_IGN is the number 1
        number = getattr(signal, f"SIG{name}", number)
    if number not in signal.valid_signals():
        raise ValueError(f"there is no signal {value!r}; write TERM, INT, HUP, ... or a number")
    return int(number)


_SHORT = {"-h": "--help", "-v": "--verbose", "-q": "--quiet"}
_REPEATED = ("group", "header")
_SWITCHES = (
    *("insecure", "utf8_names", "preserve_status", "no_start_push", "dry_run"),
    *("quiet_on_success", "verbose", "quiet"),
)

# The gateway's settings, by the name of the option.
_SETTINGS = {
    **{name: name for name in ("gateway", "config", "username", "cafile", "certfile", "keyfile")},
    **{name: name for name in ("compression", "redirects", "retries", "outbox", "utf8_names")},
    "header": "headers",
    "insecure": "insecure_skip_verify",
}

_TABLE: Mapping[str, Callable[[Any, OptionSource], Any]] = {
    "job": _job,
    "group": readers.labels,
    "signal": _signal,
    "success_codes": readers.exit_codes,
    **READERS,
    **dict.fromkeys([*_SETTINGS, *_SWITCHES], _as_given),
}
_OPTIONS = {_option(name): name for name in _TABLE}
