"""Decompresses the body of a push, and refuses protobuf."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

# https://github.com/google/snappy/blob/main/framing_format.txt
_SNAPPY_HEADER = b"\xff\x06\x00\x00sNaPpY"
_PROTOBUF = "application/vnd.google.protobuf"


class BodyError(ValueError):
    """A body that can't be read; ``status`` is the response's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def decompress(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Undo gzip or framed snappy. Any other encoding is ignored, as by the real gateway."""
    encoding = (headers.get("content-encoding") or "").lower()
    if encoding == "gzip":
        return _gunzip(body)
    if encoding == "snappy":
        return _unsnap(body)
    return body


def refuse_protobuf(headers: Mapping[str, str]) -> None:
    """Raise BodyError for protobuf. Only this exact form is protobuf to a Pushgateway."""
    kind, *parameters = (headers.get("content-type") or "").lower().split(";")
    given = {parameter.strip().replace('"', "") for parameter in parameters}
    wanted = {"proto=io.prometheus.client.metricfamily", "encoding=delimited"}
    if kind.strip() == _PROTOBUF and given >= wanted:
        raise BodyError(415, "the embedded gateway reads the text format only, not protobuf")


def _gunzip(body: bytes) -> bytes:
    if not body:
        raise BodyError(400, "EOF")
    try:
        return gzip.decompress(body)
    except EOFError:
        raise BodyError(400, "unexpected EOF") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BodyError(400, f"gzip: invalid header or data: {error}") from None


def _unsnap(body: bytes) -> bytes:
    try:
        import snappy
    except ImportError:
        raise BodyError(
            415, "the embedded gateway needs python-snappy for this: pip install 'pushgate[snappy]'"
        ) from None
    _check_frames(body)
    stream = snappy.StreamDecompressor()
    try:
        text: bytes = stream.decompress(body)
    except (OSError, snappy.UncompressError):  # a checksum that does not fit is an OSError
        raise BodyError(400, "snappy: corrupt input") from None
    return text


def _check_frames(body: bytes) -> None:
    """python-snappy adds a missing stream header and drops an unfinished last chunk."""
    position = 0
    while position < len(body):
        # A chunk is a byte of type, three of length, and that much data.
        position += 4 + int.from_bytes(body[position + 1 : position + 4], "little")
    if position != len(body) or not (body or _SNAPPY_HEADER).startswith(_SNAPPY_HEADER):
        raise BodyError(400, "snappy: corrupt input")
