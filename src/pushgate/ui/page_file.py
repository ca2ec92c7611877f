"""Writes the page to a file."""

from __future__ import annotations

import os

from .page import View, page, with_error


def write_page(path: str, view: View) -> None:
    """Replace the file, so that no reader finds half of it. Raises OSError."""
    _write(path, page(view))


def write_error(path: str, url: str, error: str) -> None:
    """Let the page in the file say why there is no newer one. Raises OSError."""
    text = None
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = with_error(file.read(), error)
    _write(path, text or page(View(url, error=error)))


def _write(path: str, text: str) -> None:
    path = os.path.realpath(path)  # a link stays one
    is_special = os.path.exists(path) and not os.path.isfile(path)  # such as /dev/stdout
    target = path if is_special else f"{path}.{os.getpid()}.new"
    with open(target, "wb" if is_special else "xb") as file:
        try:
            file.write(text.encode("utf-8", "xmlcharrefreplace"))
            file.flush()
            if not is_special:
                os.replace(target, path)
        except OSError:
            if not is_special:
                os.unlink(target)
            raise
