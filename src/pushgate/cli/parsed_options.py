"""What the options that several commands share stand for: settings, a group, matchers."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..jobs.matchers import Matcher, matches, parse_matchers
from ..protocol.grouping_key import GroupingKey
from ..protocol.names import to_path
from ..settings import readers
from ..settings.loader import Settings
from .exit_status import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..gateway.client import Gateway
    from ..protocol.groups import Group


class ParsedOptions(argparse.Namespace):
    """What a command was given."""

    quiet: bool = False

    def load_settings(self) -> Settings:
        """The settings by these options, the environment and the file. Raises SettingsError."""
        names = {"config", *Settings._fields} - {"origins"}
        return Settings.load({name: getattr(self, name, None) for name in names}, os.environ)

    def open_gateway(self) -> Gateway:
        """The gateway of these options, without an outbox. Raises SettingsError."""
        return self.load_settings().to_gateway()

    def read_matchers(self) -> tuple[Matcher, ...]:
        """The MATCHER arguments. Raises UsageError."""
        return read_matchers(self.matchers)

    def grouping_key(self) -> GroupingKey:
        """The group of ``--job`` and ``--group``. Raises UsageError or InvalidGroupingKeyError."""
        labels, utf8_names = read_labels(self.group, "--group"), False
        if any(to_path(name) != name for name in labels):
            with suppress(SettingsError):  # the command reports it when it makes the gateway
                utf8_names = self.load_settings().utf8_names
        return GroupingKey(self.job, labels, utf8_names=utf8_names)


def read_labels(texts: Iterable[str], option: str) -> dict[str, str]:
    """The labels of texts ``LABEL=VALUE``. Raises UsageError, which names the ``option``."""
    try:
        return readers.labels(texts)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def read_matchers(texts: Sequence[str]) -> tuple[Matcher, ...]:
    """The matchers in these texts; a bare word is a job's name. Raises UsageError."""
    names = [text for text in texts if text and not set(text) & set('=~!{"')]
    if len(names) > 1:
        raise UsageError(f"a group has one job; for any of these write 'job=~{'|'.join(names)}'")
    try:
        return tuple(
            matcher
            for text in texts
            for matcher in ([Matcher("job", "=", text)] if text in names else parse_matchers(text))
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def matching_groups(gateway: Gateway, matchers: Iterable[Matcher]) -> tuple[Iterator[Group], float]:
    """The gateway's groups that fulfil all matchers, and the time by its clock in Unix seconds.

    Each group is read when its turn comes, and what fails meanwhile is raised then.
    """
    now = time.time() + gateway.clock_offset()
    return (group for group in gateway.iter_groups() if matches(group.labels, matchers)), now
