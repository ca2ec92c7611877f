"""Names of a package that are imported on first use, as an adapter's are."""

from __future__ import annotations

from . import imported

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(
    package: str, module_of: Mapping[str, str], *, extra: str = ""
) -> Callable[[str], object]:
    """A ``__getattr__`` for an adapter's package, which imports each name on first use.

    ``module_of`` has the names and their modules in ``package``; a module of that name is itself
    meant. Where the framework that ``extra`` installs is missing, MissingExtraError says so.
    """

    def find(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = imported(f"{package}.{module_of[name]}")
        except ModuleNotFoundError as error:
            from .errors import MissingExtraError, require_posix

            if extra and (error.name or "").partition(".")[0] == extra:
                text = f"{package} needs {extra.capitalize()}"
                raise MissingExtraError(text, extra=extra) from error
            require_posix(f"{package}.{name}")
            raise
        return module if module_of[name] == name else getattr(module, name)

    return find
