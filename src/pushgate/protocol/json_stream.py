"""Decoding a Pushgateway's list of groups entry by entry, while it arrives."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OPENING = re.compile(r'\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\[\s*')
_NEXT = re.compile(r"\s*([,\]])\s*")
_LONGEST_OPENING = 256  # characters
_LONGEST_ENTRY = 1 << 26  # characters; a group of half a million series


def entries_of(document: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The entries of ``data`` in ``document``, which comes in pieces. Raises ValueError."""
    text = _Text(document)
    while len(text.buffer) < _LONGEST_OPENING and text.more():
        pass
    opening = _OPENING.match(text.buffer)
    if not opening or text.buffer.startswith("]", opening.end()):
        while text.more():
            pass
        yield from json.loads(text.buffer)["data"]
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
                if not text.more():
                    break
            else:
                continue
            entry, end = decoder.raw_decode(text.buffer)
        text.skip(end)
        while (mark := _NEXT.match(text.buffer)) is None:
            if text.buffer.strip() or not text.more():
                raise ValueError("the response ends early")
        yield entry
        if mark[1] == "]":
            return
        text.skip(mark.end())


class _Text:
    """Pieces of UTF-8 as text, of which the part in ``buffer`` is not decoded as JSON yet."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.buffer = ""
        self._pieces = iter(pieces)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def more(self) -> bool:
        """Add a piece: whether there was one. Raises ValueError."""
        piece = next(self._pieces, None)
        if piece is None:
            self.buffer += self._decode(b"", final=True)
            return False
        self.buffer += self._decode(piece)
        if len(self.buffer) > _LONGEST_ENTRY:
            raise ValueError("a group is too long")
        return True

    def skip(self, count: int) -> None:
        """So much of the buffer is done with."""
        self.buffer = self.buffer[count:]
