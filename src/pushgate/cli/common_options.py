"""The options that several commands share, and the values they stand for.

No option takes a secret: every process of a host can read the arguments of the others.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ..errors import SettingsError
from ..jobs.matchers import Matcher, matches
from ..jobs.matchers import read_matchers as matchers_of
from ..log import RateLimitedLogger
from ..protocol.grouping_key import GroupingKey
from ..protocol.names import to_path
from ..settings import readers
from ..settings.loader import Settings
from .exit_status import UsageError, complain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..gateway.client import Gateway
    from ..protocol.groups import Group

__all__ = (
    "MATCHERS",
    "Parser",
    "add_gateway_options",
    "add_group_options",
    "add_json_option",
    "add_match_options",
    "age",
    "duration",
    "exit_codes",
    "gateway_or_complaint",
    "grouping_key",
    "load_settings",
    "matching_groups",
    "read_labels",
    "read_matchers",
)

# Option, setting, placeholder and help; the setting is also the name in the namespace.
_OPTIONS = (
    ("--gateway", "gateway", "URL", "the Pushgateway, http://host:9091 or host:port"),
    ("--config", "config", "FILE", "settings from this TOML file"),
    ("--timeout", "timeout", "DURATION", "for the whole delivery, such as 2.5, 30s or 1m"),
    ("--retries", "retries", "N", "how often to try again after a failure that may pass"),
    ("--redirects", "redirects", "N", "how many redirects to follow"),
    ("--outbox", "outbox", "PATH", "where undelivered pushes wait; off for nowhere"),
    ("--compression", "compression", "NAME", "gzip, snappy or none"),
    ("--username", "username", "NAME", "for basic authentication, with PUSHGATE_PASSWORD"),
    ("--cafile", "cafile", "FILE", "authorities to trust instead of the system's"),
    ("--certfile", "certfile", "FILE", "the client certificate"),
    ("--keyfile", "keyfile", "FILE", "its key, if that is in another file"),
)
MATCHERS = (
    "MATCHER is LABEL=VALUE, LABEL!=VALUE, LABEL=~REGEXP or LABEL!~REGEXP, as in PromQL,\n"
    "such as job=backup or 'instance=~db.*'"
)
_SWITCHES = (
    ("--insecure", "insecure_skip_verify", "do not check the server's certificate"),
    ("--utf8-names", "utf8_names", "any text as names; the gateway must be set up for that"),
)


class Parser(argparse.ArgumentParser):
    """argparse, but with UsageError in place of an exit, and without abbreviated options."""

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
    """Add the options for the gateway and the way to it; :func:`load_settings` reads them."""
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


def load_settings(options: argparse.Namespace) -> Settings:
    """The settings by these options, the environment and the file. Raises SettingsError."""
    names = [setting for _, setting, *_ in (*_OPTIONS, *_SWITCHES)] + ["headers"]
    return Settings.load({name: getattr(options, name) for name in names}, os.environ)


def gateway_or_complaint(
    options: argparse.Namespace, *, timeout: float, say: Callable[[str], object]
) -> Gateway | None:
    """The configured gateway with its outbox; where it can't be used, a line on stderr and None.

    For commands inside a job, which must go on although its monitoring is broken. ``timeout``, in
    seconds, is for a configuration without one; ``say`` takes the outbox's lines.
    """
    try:
        settings = load_settings(options)
        if "timeout" not in settings.origins:
            settings = settings._replace(timeout=timeout)
        return settings.to_gateway(settings.to_outbox(RateLimitedLogger(say)))
    except SettingsError as error:
        complain(str(error))
        return None


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


def grouping_key(options: argparse.Namespace) -> GroupingKey:
    """The group of ``--job`` and ``--group``. Raises UsageError or InvalidGroupingKeyError."""
    labels, utf8_names = read_labels(options.group, "--group"), False
    if any(to_path(name) != name for name in labels):
        with suppress(SettingsError):  # the command reports it when it makes the gateway
            utf8_names = load_settings(options).utf8_names
    return GroupingKey(options.job, labels, utf8_names=utf8_names)


def read_labels(texts: Iterable[str], option: str) -> dict[str, str]:
    """The labels of texts ``LABEL=VALUE``. Raises UsageError, which names the ``option``."""
    try:
        return readers.labels(texts)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def add_match_options(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--match``, ``--dry-run`` and ``--yes``, for commands that delete many groups."""
    parser.add_argument("--match", action="append", default=[], metavar="MATCHER", help=text)
    parser.add_argument("--dry-run", action="store_true", help="only show what would be deleted")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do not ask before more than half of the gateway is deleted, or what was pushed within"
        " an hour; needed for that where there is no terminal",
    )


def read_matchers(texts: list[str]) -> tuple[Matcher, ...]:
    """The matchers in these texts. Raises UsageError."""
    try:
        return matchers_of(texts)
    except ValueError as error:
        raise UsageError(str(error)) from None


def matching_groups(gateway: Gateway, matchers: Iterable[Matcher]) -> tuple[Iterator[Group], float]:
    """The gateway's groups that fulfil all matchers, and the time by its clock in Unix seconds.

    Each group is read when its turn comes, and what fails meanwhile is raised then.
    """
    now = time.time() + gateway.clock_offset()
    return (group for group in gateway.iter_groups() if matches(group.labels, matchers)), now


def add_json_option(
    parser: argparse.ArgumentParser, text: str = "for scripts, with all numbers"
) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=text)


def duration(text: str) -> float:
    """For argparse: a duration above 0, in seconds."""
    try:
        return readers.positive_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def age(text: str) -> float:
    """For argparse: a duration above 0 with its unit, in seconds."""
    try:
        return readers.age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def exit_codes(text: str) -> frozenset[int]:
    """For argparse: exit codes, with commas between them."""
    try:
        return readers.exit_codes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
