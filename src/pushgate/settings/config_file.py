"""The configuration file. Enters: ``--config`` and the environment. Leaves: the file's keys and
values as TOML has them, and its path; or a SettingsError.

The current directory is never searched: a cron job may run in a folder that others can write.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SettingsError
from .environment import CONFIG, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("SYSTEM_FILE", "ConfigFile", "find_config_file")

SYSTEM_FILE = "/etc/pushgate/config.toml"


class ConfigFile(NamedTuple):
    """A file that was read. ``path`` is absolute."""

    path: str
    values: Mapping[str, object]


def find_config_file(
    flag: str | None, environ: Mapping[str, str], system_file: str
) -> ConfigFile | None:
    """The file ``flag`` names, else PUSHGATE_CONFIG, else the user's, else the system's, if any.

    Raises SettingsError for a named file that is not there, and for one that can't be used.
    """
    for named, by in ((flag, "--config"), (environ.get(CONFIG), CONFIG)):
        if named:
            found = _read(os.path.abspath(_expanded(named, environ)), f"{by}: ")
            if found is None:
                raise SettingsError(f"{by}: there is no file {named!r}")
            return found
    return next(filter(None, map(_read, _usual_places(environ, system_file))), None)


def _usual_places(environ: Mapping[str, str], system_file: str) -> list[str]:
    folder, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    # The specification has relative paths ignored: they would lead to the current directory.
    # https://specifications.freedesktop.org/basedir-spec/latest/
    if not os.path.isabs(folder):
        folder = os.path.join(home, ".config") if os.path.isabs(home) else ""
    return ([os.path.join(folder, "pushgate", "config.toml")] if folder else []) + [system_file]


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    return environ.get("HOME", "~") + path[1:] if path.startswith("~/") else path


def _read(path: str, origin: str = "") -> ConfigFile | None:
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, PermissionError) and not origin and not os.path.exists(path):
            return None  # in the home of somebody else, which su and sudo may leave in HOME
        raise SettingsError(f"{origin}{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{origin}{path} is not UTF-8, which TOML files must be") from None
    values = _parse(path, text)
    for key in values:
        if key not in VARIABLES:
            raise SettingsError(f"{path}: there is no setting {key!r}; {_advice(key)}")
    return ConfigFile(path, values)


def _parse(path: str, text: str) -> dict[str, Any]:
    from importlib import import_module

    try:
        toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise SettingsError(f"{path}: reading it needs tomli: pip install tomli") from None
    try:
        values: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    return values


def _advice(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, VARIABLES, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(VARIABLES)}"
