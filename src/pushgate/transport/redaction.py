"""Text of a server made fit for an error: one line, printable, no HTML, no secret it was sent."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

_PUBLIC = ("accept", "content-encoding", "content-length", "content-type", "host", "user-agent")
_SHORTEST = 4  # characters; a shorter word is no secret, and a text without it is no text
_LONGEST_LINE = 500
# An element that is not shown; one that does not end takes the rest, or this would take for ever.
_UNSEEN = r"(?is)<(script|style{})\b[^<>]*>.*?(?:</\1\b[^<>]*>|\Z)"


class Redaction:
    """Writes ``***`` for the secrets in ``headers``: values, their parts, the Basic password.

    A server may echo a credential, or the value of a header of the user's.
    """

    def __init__(self, headers: Iterable[tuple[str, object]]) -> None:
        secrets: set[str] = set()
        for name, value in headers:
            if name.lower() in _PUBLIC:
                continue
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            scheme, *parts = text.split() or [""]
            secrets.update((text, *(parts or [scheme])))
            if scheme.lower() == "basic":
                secrets.update(map(_password, parts))
        for secret in tuple(secrets):
            # As a URL has it, and as http.client decodes UTF-8 in a header or reason.
            secrets.add(quote(secret, safe="", errors="replace"))
            secrets.add(secret.encode("utf-8", "replace").decode("latin-1"))
        # The longest first, so that none is left in part.
        self._secrets = sorted(filter(_long_enough, secrets), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def one_line(text: str) -> str:
    """``text`` on one line, without control characters, cut."""
    line = "".join([c if c.isprintable() else "?" for c in " ".join(text.split())])
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…"


def text_of_html(page: str) -> str:
    """The text of ``page`` without its tags; its title only where there is nothing else."""
    text = ""
    for more in ("|title", ""):
        if not text.strip():
            text = re.sub(r"</?[a-zA-Z!?][^<>]*>", " ", re.sub(_UNSEEN.format(more), " ", page))
    if "&" in text:
        from html import unescape  # whose table of names takes a millisecond

        text = unescape(text)
    return text


def _long_enough(secret: str) -> bool:
    return len(secret) >= _SHORTEST


def _password(token: str) -> str:
    """The password in a Basic token, or the user name where that is all there is."""
    try:
        user, _, password = base64.b64decode(token).decode().partition(":")
    except ValueError:
        return ""
    return password or user
