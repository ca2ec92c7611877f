"""The configuration file: where it is looked for, and what it holds.

The current directory is never searched: a cron job may run in a folder that others can write.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .environment import CONFIG
from .named_file import read_named_file
from .option_table import OptionSource

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_FILE = "/etc/pushgate/config.toml"


_RULES = "rules"  # the table for `pushgate rules`, which is no setting of a gateway


def read_config_file(
    flag: str | None, environ: Mapping[str, str], system_file: str
) -> OptionSource | None:
    """The settings in the file that ``flag`` names, else PUSHGATE_CONFIG, the user's, the system's.

    Raises SettingsError for a named file that is not there, and for one that can't be used.
    """
    found = _find(flag, environ, system_file)
    if found is not None:
        found.values = {name: value for name, value in found.values.items() if name != _RULES}
    return found


def read_rules_table(
    flag: str | None, environ: Mapping[str, str], system_file: str = SYSTEM_FILE
) -> OptionSource:
    """The table ``[rules]`` of the same file; empty where there is none. Raises SettingsError."""
    found = _find(flag, environ, system_file)
    if found is None:
        return OptionSource({})
    table, label = found.values.get(_RULES, {}), found.label
    if not isinstance(table, dict):
        raise SettingsError(f"{label(_RULES)} is no table; write [rules]")
    return OptionSource(table, lambda name: label(f"{_RULES}.{name}"))


def _find(flag: str | None, environ: Mapping[str, str], system_file: str) -> OptionSource | None:
    """The file with all that it holds.

    Raises SettingsError for a named file that is not there, and for one that can't be used.
    """
    for named, by in ((flag, "--config"), (environ.get(CONFIG), CONFIG)):
        if named:
            path = environ.get("HOME", "~") + named[1:] if named.startswith("~/") else named
            found = _read(os.path.abspath(path), environ, f"{by}: ")
            if found is None:
                raise SettingsError(f"{by}: there is no file {named!r}")
            return found
    for path in _usual_places(environ, system_file):
        if found := _read(path, environ):
            return found
    return None


def _usual_places(environ: Mapping[str, str], system_file: str) -> list[str]:
    folder, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    # The specification has relative paths ignored: they would lead to the current directory.
    # https://specifications.freedesktop.org/basedir-spec/latest/
    if not os.path.isabs(folder):
        folder = os.path.join(home, ".config") if os.path.isabs(home) else ""
    return ([os.path.join(folder, "pushgate", "config.toml")] if folder else []) + [system_file]


def _read(path: str, environ: Mapping[str, str], origin: str = "") -> OptionSource | None:
    try:
        text = read_named_file(path).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and not origin and not os.path.exists(path):
            return None  # in another user's home, which su and sudo may leave in HOME
        raise SettingsError(f"{origin}{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{origin}{path} is not UTF-8, which TOML files must be") from None
    import tomllib  # only where there is a file

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    return OptionSource(
        values,
        lambda name: f"{path}: {name}",
        holds_secrets=False,
        folder=os.path.dirname(path),
        home=environ.get("HOME", ""),
    )
