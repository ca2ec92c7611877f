"""Reading options by a table: each option's name and the function that reads its value.

Settings, the adapters and the command line read their options here, so that all of them refuse an
unknown name with a suggestion, and a bad value with the place where it was written. Imports only
what is there at Python's start: ``pushgate run`` reads its options before it starts the command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Reader = Callable[[Any, "OptionSource"], Any]


class OptionSource:
    """Values by the names of their options, and the place where they were written.

    ``label`` is how an error names an option: a text in which ``{name}`` is replaced, or a function
    of the name. A value of None counts as not given.

    ``holds_secrets``: a secret may stand in the value itself, as in an environment, which only its
    user can read; otherwise a secret is only taken as ``file:/path``, as in arguments, which every
    process can list, and in files, which are copied and committed. ``reads_files``: ``file:/path``
    is followed; otherwise it is a text like any other, for values of people who may not choose
    which file of this machine is read. ``folder`` is where relative paths begin, ``home`` what
    ``~/`` stands for.
    """

    __slots__ = ("folder", "holds_secrets", "home", "label", "reads_files", "values")

    def __init__(
        self,
        values: Mapping[str, object],
        label: str | Callable[[str], str] = "{name}",
        *,
        holds_secrets: bool = True,
        reads_files: bool = True,
        folder: str = "",
        home: str = "",
    ) -> None:
        self.values = values
        self.label = label.replace("{name}", "{}").format if isinstance(label, str) else label
        self.holds_secrets = holds_secrets
        self.reads_files = reads_files
        self.folder = folder
        self.home = home

    def path(self, text: str) -> str:
        """``text`` as a path that can be opened."""
        import os

        if text.startswith("~/"):
            text = (self.home or os.path.expanduser("~")) + text[1:]
        return os.path.join(self.folder, text)


def read_options(
    table: Mapping[str, Reader], *sources: OptionSource
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the options that were given, and the label of the source of each.

    ``table`` has the reader of each option: a function of the value and its source that returns
    what is meant. Of several sources that give an option, the first counts.

    Raises SettingsError, a ValueError, for a name that is not in ``table`` and for a value that its
    reader refuses with a ValueError. The text begins with the option's label.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for name, value in source.values.items():
            if name not in table:
                advice = did_you_mean(name, table) or f"; there are {', '.join(table)}"
                raise _error(f"{source.label(name)}: there is no such option{advice}")
            if value is None or name in values:
                continue
            try:
                values[name] = table[name](value, source)
            except ValueError as error:
                raise _error(f"{source.label(name)}: {error}") from None
            origins[name] = source.label(name)
    return values, origins


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the one of ``names`` that looks like ``name``, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _error(text: str) -> ValueError:
    from ..errors import SettingsError

    return SettingsError(text)
