"""A payload's body, compressed or not, and the headers that describe it.

A Pushgateway takes gzip since 1.5.0 and snappy, in the framing format, since 1.6.0. One that knows
neither ignores the header and fails to parse the body (seen on 1.5.1), so nothing is guessed here.
"""

from __future__ import annotations

from typing import Literal

from .. import imported
from ..errors import MissingExtraError
from .text import CONTENT_TYPE

Compression = Literal["gzip", "snappy"] | None
Headers = list[tuple[str, str]]


def compress(
    text: bytes, compression: str | None, content_type: str = CONTENT_TYPE
) -> tuple[bytes, Headers]:
    """The body and a new list of headers for ``text``, or for what else ``content_type`` says.

    ``compression`` is None, "gzip" or "snappy" in any case. Raises ValueError for others and
    MissingExtraError, also a RuntimeError, for snappy without python-snappy.
    """
    headers: Headers = [("Content-Type", content_type)]
    if compression is None:
        return text, headers
    encoding = compression.lower()
    if encoding == "gzip":
        body = imported("gzip").compress(text)
    elif encoding == "snappy":
        body = _snappy_frames(text)
    else:
        raise ValueError(
            f"Unsupported compression type: {compression}; use 'gzip', 'snappy' or None"
        )
    headers.append(("Content-Encoding", encoding))
    return body, headers


def _snappy_frames(text: bytes) -> bytes:
    """The framing format; the raw block format that snappy.compress() writes is answered by 400."""
    try:
        import snappy
    except ImportError as error:
        raise MissingExtraError(
            "snappy compression needs the python-snappy package", extra="snappy"
        ) from error
    compressor = snappy.StreamCompressor()
    body: bytes = compressor.compress(text)
    # Writes nothing in python-snappy 0.7; other releases buffer and return the rest here.
    flush = getattr(compressor, "flush", None)
    return body + (flush() or b"" if callable(flush) else b"")
