"""Prometheus text that a user wrote, checked before it is pushed.

It is read as the real gateway reads it. prometheus_client's parser does not: it takes what a
gateway refuses, and splits samples without a TYPE line into families that clash.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ..errors import InvalidPayloadError
from .families import Family
from .parse import ParseError, TextFamily, parse_text
from .text import Payload, encode

if TYPE_CHECKING:
    from .grouping_key import GroupingKey


def checked_text(text: bytes, key: GroupingKey, *, utf8_names: bool = False) -> Payload:
    """The payload of ``text``, in the text format 0.0.4, every sample fit for the group ``key``.

    With ``utf8_names``, names may be any text in quotes, ``{"rows.loaded","db.name"="shop"} 42``.

    What editors and Windows do to files, a byte order mark, CR LF and a last line without its end,
    is undone. Raises InvalidPayloadError, whose text begins with the number of the line.
    """
    text = _normalised(text)
    try:
        return _encoded(text, key, utf8_names)._replace(text=text)
    except ParseError as error:
        place = str(error).removeprefix("text format parsing error in ")
        raise InvalidPayloadError(place) from None
    except InvalidPayloadError as error:
        lines = [line + b"\n" for line in text.split(b"\n")]
        # The shortest beginning that is refused ends with the line to blame.
        line = bisect_left(
            range(len(lines)),
            True,
            key=lambda end: _refused(b"".join(lines[:end]), key, utf8_names),
        )
        raise InvalidPayloadError(
            f"line {line}: {error}", metric=error.metric, label=error.label
        ) from None


def _normalised(text: bytes) -> bytes:
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") or not text else text + b"\n"


def _encoded(text: bytes, key: GroupingKey, utf8_names: bool) -> Payload:
    families = parse_text(text, utf8_names=utf8_names).values()
    return encode([_plain(family) for family in families], key, utf8_names=utf8_names)


def _refused(text: bytes, key: GroupingKey, utf8_names: bool) -> bool:
    try:
        _encoded(text, key, utf8_names)
    except InvalidPayloadError:
        return True
    return False


def _plain(family: TextFamily) -> Family:
    # As a gauge, a counter keeps its name: the encoder would add _total where it is missing.
    kind = "gauge" if family.type == "counter" else family.type
    return Family(family.name, family.documentation or "", kind, family.samples)
