"""What ``--html FILE`` writes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .exit_status import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..errors import PushError
    from ..gateway.client import Gateway
    from ..jobs.picture import Picture


def write_status_page(path: str, gateway: Gateway, picture: Picture, waiting: str) -> None:
    """Write the page of a picture. Raises CommandError."""
    from ..ui.live_view import view_of
    from ..ui.page_file import write_page

    with _named(path):
        write_page(path, view_of(gateway, picture, (waiting,) if waiting else ()))


def write_error_page(path: str, gateway: Gateway, error: PushError) -> None:
    """Let the page say that the gateway can't be read, beside what it showed before."""
    from ..ui.page_file import write_error

    with _named(path):
        write_error(path, gateway.url, str(error))


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"--html: can't write {path}: {error.strerror or error}") from error
