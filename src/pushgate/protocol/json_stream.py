"""Decoding a Pushgateway's list of groups entry by entry, while it arrives."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_OPENING = re.compile(r'\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\[\s*')
_NEXT = re.compile(r"\s*([,\]])\s*")
_LONGEST_OPENING = 256  # characters
_LONGEST_ENTRY = 1 << 26  # characters; a group of half a million series


def entries() -> Generator[dict[str, Any] | None, bytes, None]:
    """The entries of ``data`` in a document, and None where its next piece is to be sent.

    An empty piece is its end. Raises ValueError.
    """
    text = _Text()
    while len(text.buffer) < _LONGEST_OPENING and (yield from text.more()):
        pass
    opening = _OPENING.match(text.buffer)
    if not opening or text.buffer.startswith("]", opening.end()):
        while (yield from text.more()):
            pass
        for entry in json.loads(text.buffer)["data"]:
            yield _checked(entry)
        return
    text.skip(opening.end())
    decoder = json.JSONDecoder()
    while True:
        try:
            entry, end = decoder.raw_decode(text.buffer)
        except json.JSONDecodeError:
            # Perhaps it goes on. Twice as much is read each time, or a long one takes for ever.
            wanted = 2 * len(text.buffer) + 1
            while len(text.buffer) < wanted:
                if not (yield from text.more()):
                    break
            else:
                continue
            entry, end = decoder.raw_decode(text.buffer)
        text.skip(end)
        while (mark := _NEXT.match(text.buffer)) is None:
            if text.buffer.strip() or not (yield from text.more()):
                raise ValueError("the response ends early")
        yield _checked(entry)
        if mark[1] == "]":
            return
        text.skip(mark.end())


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    if entry is None:
        raise ValueError("an entry is null")
    return entry


class _Text:
    """Pieces of UTF-8 as text, of which the part in ``buffer`` is not decoded as JSON yet."""

    def __init__(self) -> None:
        self.buffer = ""
        self._has_ended = False
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def more(self) -> Generator[None, bytes, bool]:
        """Ask for a piece, and add it: whether there was one. Raises ValueError."""
        if self._has_ended:
            return False
        piece = yield None
        self._has_ended = not piece
        self.buffer += self._decode(piece, final=not piece)
        if len(self.buffer) > _LONGEST_ENTRY:
            raise ValueError("a group is too long")
        return bool(piece)

    def skip(self, count: int) -> None:
        """So much of the buffer is done with."""
        self.buffer = self.buffer[count:]
