"""``pushgate run``: options, and where they end and the command begins.

Enters: arguments. Leaves: the command's exit code, or 125 for wrong options. Not argparse: it
would cost the command's start 7 ms, and it moves words between our options and the command's.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ("main",)

HELP = """\
pushgate run - run a command and put how it went into Prometheus

usage: pushgate run --job NAME [options] [--] COMMAND [ARGUMENT ...]

The command's exit code, signals, terminal and streams are as without pushgate,
whatever the gateway does. A push that fails is one line on stderr.

job         --job NAME           and --group LABEL=VALUE, which may be repeated
gateway     --gateway URL        else PUSHGATE_GATEWAY or the --config FILE
            --username NAME, --header 'NAME: VALUE', --cafile FILE, --insecure,
            --certfile FILE, --keyfile FILE, --compression NAME, --redirects N,
            --retries N (6), --utf8-names;
            secrets: PUSHGATE_PASSWORD, PUSHGATE_TOKEN
            --outbox FILE        keeps what can't be delivered now; off: none
time limit  --timeout 90m        then --signal NAME (TERM); the exit code is 124
            --kill-after 10s     then KILL; the exit code is 137
            --preserve-status    the exit code is the command's own
success     --success-codes 0,3  the exit codes that count as success (0)
            --min-duration 1s    a run that is shorter counts as failed
overlap     --lock FILE          one run at a time; see --lock-wait 5m (0s)
            --on-locked skip     publish a skipped run, exit 0; or fail: exit 75
publishing  --expect-every 24h   the schedule, for the alert on missed runs
            --heartbeat 60s      an empty push now and then while it runs
            --no-start-push      only push the end
            --push-timeout 10s   the longest that pushing the end may take
            --textfile DIR       write DIR/NAME.prom for node_exporter as well,
                                 or only, where no gateway is set
            --dry-run            print the metrics to stderr, push nothing
output      --quiet-on-success   hold the output back; print it if the run fails
            --tail-bytes N       the same, with the last N bytes of each stream
            -v, -q               lines at start and end too; no line at all

The command may append metrics of its own, in Prometheus text:
  echo "rows_loaded 42" >> "$PUSHGATE_METRICS_FILE"

Durations: 90s, 15m, 2h, 1d. Exit codes: the command's; 124 time limit; 125
wrong option; 126 can't be executed; 127 not found; 128+N killed by signal N.
"""

_SETTINGS = (
    "gateway",
    "config",
    "username",
    "cafile",
    "certfile",
    "keyfile",
    "compression",
    "redirects",
    "retries",
    "outbox",
)


class _WrongUsageError(Exception):
    """The text says what was meant."""


def main(arguments: list[str]) -> int:
    """Run the command in ``arguments``."""
    try:
        options, command = _parse(arguments)
    except _WrongUsageError as error:
        os.write(2, f"pushgate run: {error}; see 'pushgate run --help'\n".encode(errors="replace"))
        return 125
    if options is None:
        from .exit_status import guarded

        return guarded(lambda: sys.stdout.write(HELP) and 0)
    from pushgate_subprocess._options import RunOptions
    from pushgate_subprocess._wrap import wrap

    return wrap(command, RunOptions(**options))


def _parse(arguments: list[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """The options as RunOptions' fields, None for --help, and the untouched command."""
    values: dict[str, Any] = {"groups": {}, "settings": {}}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        word = arguments[at]
        at += 1
        if word == "--":
            break
        if word in ("--help", "-h"):
            return None, []
        name, equals, value = word.partition("=")
        if name in _SWITCHES:
            if equals:
                raise _WrongUsageError(f"{name} takes no value")
            _SWITCHES[name](values)
            continue
        if name not in _WITH_VALUE:
            raise _WrongUsageError(_unknown(name))
        if not equals:
            if at == len(arguments):
                raise _WrongUsageError(f"{name} needs a value")
            value = arguments[at]
            at += 1
        try:
            _WITH_VALUE[name](values, value)
        except ValueError as error:
            raise _WrongUsageError(f"{name}: {error}") from None
    command = arguments[at:]
    if not values.get("job"):
        raise _WrongUsageError("give the job's name: --job NAME")
    if not command:
        raise _WrongUsageError("give a command to run after the options")
    return values, command


def _set(field: str, read: Callable[[str], object]) -> Callable[[dict[str, Any], str], None]:
    def store(values: dict[str, Any], text: str) -> None:
        values[field] = read(text)

    return store


def _setting(name: str) -> Callable[[dict[str, Any], str], None]:
    def store(values: dict[str, Any], text: str) -> None:
        values["settings"][name] = text

    return store


def _header(values: dict[str, Any], text: str) -> None:
    values["settings"].setdefault("headers", []).append(text)


def _group(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"write {text!r} as LABEL=VALUE")
    if name in values["groups"]:
        raise ValueError(f"the label {name!r} is given twice; keep one")
    values["groups"][name] = value


def _job(text: str) -> str:
    if not text:
        raise ValueError("the job's name is empty")
    return text


def _seconds(text: str) -> float:
    from pushgate.settings.readers import parse_duration

    return parse_duration(text)


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise ValueError("give a duration above 0")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is not a number of bytes")
    return int(text)


def _codes(text: str) -> frozenset[int]:
    codes = [int(code) if code.strip().isdecimal() else -1 for code in text.split(",")]
    if not all(0 <= code <= 255 for code in codes):
        raise ValueError(f"write {text!r} as exit codes from 0 to 255, such as 0,3")
    return frozenset(codes)


def _signal(text: str) -> int:
    import signal

    name = text.upper().removeprefix("SIG")
    number = int(text) if text.isdecimal() else 0
    if name.isalnum():  # not "_IGN": SIG_IGN is the number 1
        number = getattr(signal, f"SIG{name}", number)
    if number not in {int(known) for known in signal.valid_signals()}:
        raise ValueError(f"there is no signal {text!r}; write TERM, INT, HUP, ... or a number")
    return int(number)


def _on_locked(text: str) -> str:
    if text not in ("skip", "fail"):
        raise ValueError(f"{text!r} is neither skip nor fail")
    return text


def _switch(field: str, value: object) -> Callable[[dict[str, Any]], None]:
    def store(values: dict[str, Any]) -> None:
        values[field] = value

    return store


def _setting_on(name: str) -> Callable[[dict[str, Any]], None]:
    def store(values: dict[str, Any]) -> None:
        values["settings"][name] = True

    return store


_WITH_VALUE: dict[str, Callable[[dict[str, Any], str], None]] = {
    "--job": _set("job", _job),
    "--group": _group,
    "--header": _header,
    "--timeout": _set("timeout", _positive_seconds),
    "--kill-after": _set("kill_after", _seconds),
    "--signal": _set("signal", _signal),
    "--success-codes": _set("success_codes", _codes),
    "--min-duration": _set("min_duration", _seconds),
    "--lock": _set("lock", str),
    "--lock-wait": _set("lock_wait", _seconds),
    "--on-locked": _set("on_locked", _on_locked),
    "--expect-every": _set("expect_every", _positive_seconds),
    "--heartbeat": _set("heartbeat", _positive_seconds),
    "--push-timeout": _set("push_timeout", _positive_seconds),
    "--textfile": _set("textfile", str),
    "--tail-bytes": _set("tail_bytes", _count),
    **{f"--{name}": _setting(name) for name in _SETTINGS},
}

_SWITCHES: dict[str, Callable[[dict[str, Any]], None]] = {
    "--insecure": _setting_on("insecure_skip_verify"),
    "--utf8-names": _setting_on("utf8_names"),
    "--preserve-status": _switch("preserve_status", True),
    "--no-start-push": _switch("start_push", False),
    "--dry-run": _switch("dry_run", True),
    "--quiet-on-success": _switch("quiet_on_success", True),
    "-v": _switch("verbosity", 1),
    "--verbose": _switch("verbosity", 1),
    "-q": _switch("verbosity", -1),
    "--quiet": _switch("verbosity", -1),
}


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*_WITH_VALUE, *_SWITCHES], n=1)
    return f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "")
