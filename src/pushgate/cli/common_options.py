"""What several commands take. Enters: arguments. Leaves: Settings and a GroupingKey, or a
UsageError or SettingsError. No flag takes a secret: the arguments of a process are for all to see.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ..errors import SettingsError
from ..settings.readers import parse_duration
from .exit_status import UsageError, complain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..gateway.client import Gateway
    from ..jobs.matchers import Matcher
    from ..protocol.grouping_key import GroupingKey
    from ..settings.loader import Settings

__all__ = (
    "Parser",
    "add_gateway_options",
    "add_group_options",
    "add_json_option",
    "add_match_options",
    "duration",
    "exit_codes",
    "gateway_or_complaint",
    "group_labels",
    "grouping_key",
    "load_settings",
    "read_matchers",
)

# Option, setting, placeholder and help; the setting is also the name in the namespace.
_OPTIONS = (
    ("--gateway", "gateway", "URL", "the Pushgateway, http://host:9091 or host:port"),
    ("--config", "config", "FILE", "settings from this TOML file"),
    ("--timeout", "timeout", "DURATION", "for the whole delivery, such as 2.5, 30s or 1m"),
    ("--retries", "retries", "N", "tries more after a failure that may pass"),
    ("--redirects", "redirects", "N", "redirects to follow"),
    ("--outbox", "outbox", "FILE", "where undelivered pushes wait; off for nowhere"),
    ("--compression", "compression", "NAME", "gzip, snappy or none"),
    ("--username", "username", "NAME", "for basic authentication, with PUSHGATE_PASSWORD"),
    ("--cafile", "cafile", "FILE", "authorities to trust instead of the system's"),
    ("--certfile", "certfile", "FILE", "the client certificate"),
    ("--keyfile", "keyfile", "FILE", "its key, if that is in another file"),
)
_SWITCHES = (
    ("--insecure", "insecure_skip_verify", "do not check the server's certificate"),
    ("--utf8-names", "utf8_names", "any text as names; the gateway must be set up for that"),
)


class Parser(argparse.ArgumentParser):
    """argparse, with UsageError in place of an exit and without abbreviated options."""

    def __init__(self, command: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"pushgate {command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def add_gateway_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which gateway and how to reach it."""
    group = parser.add_argument_group("gateway")
    for option, setting, placeholder, text in _OPTIONS:
        group.add_argument(option, dest=setting, metavar=placeholder, help=text)
    group.add_argument(
        "--header",
        dest="headers",
        metavar="'NAME: VALUE'",
        action="append",
        help="add a header; VALUE may be file:/path; may be repeated",
    )
    for option, setting, text in _SWITCHES:
        group.add_argument(option, dest=setting, action="store_const", const=True, help=text)


def load_settings(
    options: argparse.Namespace, environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings, with the options that add_gateway_options added. Raises SettingsError."""
    from ..settings.loader import Settings

    names = [setting for _, setting, _, _ in _OPTIONS] + ["headers"]
    names += [setting for _, setting, _ in _SWITCHES]
    flags = {name: getattr(options, name) for name in names}
    return Settings.load(flags, os.environ if environ is None else environ)


def add_group_options(parser: argparse.ArgumentParser, *, job_required: bool = True) -> None:
    """Add ``--job`` and ``--group``."""
    parser.add_argument("--job", required=job_required, metavar="NAME", help="the job's name")
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="LABEL=VALUE",
        help="a further label of the group; may be repeated",
    )


def gateway_or_complaint(
    options: argparse.Namespace, *, timeout: float, say: Callable[[str], object]
) -> Gateway | None:
    """The configured gateway with its outbox; if that can't be used, one line on stderr and None.

    For commands inside a job, which must go on whatever is wrong with its monitoring. ``timeout``,
    in seconds, is for when none is configured; ``say`` takes the outbox's lines.
    """
    try:
        settings = load_settings(options)
        if "timeout" not in settings.origins:
            settings = settings._replace(timeout=timeout)
        return settings.to_gateway(settings.to_outbox(say))
    except SettingsError as error:
        complain(str(error))
        return None


def duration(text: str) -> float:
    """For argparse: a duration above 0 in seconds."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("give a duration above 0")
    return seconds


def exit_codes(text: str) -> frozenset[int]:
    """For argparse: exit codes, with commas between them."""
    codes = [int(code) if code.isascii() and code.isdecimal() else -1 for code in text.split(",")]
    if not all(0 <= code <= 255 for code in codes):
        raise argparse.ArgumentTypeError(f"write {text!r} as numbers from 0 to 255, such as 0,3")
    return frozenset(codes)


def add_match_options(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--match`` and ``--dry-run``, for what deletes many groups."""
    parser.add_argument("--match", action="append", default=[], metavar="MATCHER", help=text)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")


def add_json_option(
    parser: argparse.ArgumentParser, text: str = "for scripts, with all numbers"
) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=text)


def read_matchers(texts: list[str]) -> tuple[Matcher, ...]:
    """The matchers as they were written. Raises UsageError."""
    from ..jobs.matchers import read_matchers as read

    try:
        return read(texts)
    except ValueError as error:
        raise UsageError(str(error)) from None


def group_labels(options: argparse.Namespace) -> dict[str, str]:
    """The labels of all ``--group``. Raises UsageError."""
    labels: dict[str, str] = {}
    for text in options.group:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--group {text!r}: write it as LABEL=VALUE")
        if name in labels:
            raise UsageError(f"--group gives the label {name!r} twice; keep one")
        labels[name] = value
    return labels


def grouping_key(options: argparse.Namespace) -> GroupingKey:
    """The group of ``--job`` and ``--group``. Raises UsageError or InvalidGroupingKeyError."""
    from ..protocol.grouping_key import GroupingKey
    from ..protocol.names import to_path

    labels, utf8_names = group_labels(options), False
    if any(to_path(name) != name for name in labels):
        with suppress(SettingsError):  # which is said when the gateway is looked for
            utf8_names = load_settings(options).utf8_names
    return GroupingKey(options.job, labels, utf8_names=utf8_names)
