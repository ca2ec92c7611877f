"""A payload's body, compressed or not, and the headers that describe it.

A Pushgateway takes gzip since 1.5.0 and snappy, in the framing format, since 1.6.0. One that knows
neither ignores the header and fails to parse the body (seen on 1.5.1), so nothing is guessed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .. import imported
from ..errors import MissingExtraError
from .steps import finished
from .text import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_SLICE = 1 << 18  # bytes; gzip takes some 5 ms for so many
_GZIP = 31  # zlib's window size for gzip's header

Compression = Literal["gzip", "snappy"] | None
Headers = list[tuple[str, str]]


def compress(
    text: bytes, compression: str | None, content_type: str = CONTENT_TYPE
) -> tuple[bytes, Headers]:
    """The body and a new list of headers for ``text``, or for what else ``content_type`` says.

    ``compression`` is None, "gzip" or "snappy" in any case. Raises ValueError for others and
    MissingExtraError, also a RuntimeError, for snappy without python-snappy.
    """
    if compression is None:
        return text, [("Content-Type", content_type)]
    return finished(compress_steps(text, compression, content_type))


def compress_steps(
    text: bytes, compression: str, content_type: str = CONTENT_TYPE
) -> Generator[None, None, tuple[bytes, Headers]]:
    """As :func:`compress`, a slice of the text at each step."""
    encoding = compression.lower()
    if encoding == "gzip":
        body = yield from _gzipped(text)
    elif encoding == "snappy":
        body = yield from _snappy_frames(text)
    else:
        raise ValueError(
            f"Unsupported compression type: {compression}; use 'gzip', 'snappy' or None"
        )
    return body, [("Content-Type", content_type), ("Content-Encoding", encoding)]


def _slices(text: bytes) -> Iterator[memoryview]:
    view = memoryview(text)
    return (view[start : start + _SLICE] for start in range(0, max(1, len(text)), _SLICE))


def _gzipped(text: bytes) -> Generator[None, None, bytes]:
    zlib = imported("zlib")
    compressor = zlib.compressobj(wbits=_GZIP)
    pieces = []
    for piece in _slices(text):
        pieces.append(compressor.compress(piece))
        yield
    return b"".join([*pieces, compressor.flush()])


def _snappy_frames(text: bytes) -> Generator[None, None, bytes]:
    """The framing format; the raw block format that snappy.compress() writes is answered by 400."""
    try:
        import snappy
    except ImportError as error:
        raise MissingExtraError(
            "snappy compression needs the python-snappy package", extra="snappy"
        ) from error
    compressor = snappy.StreamCompressor()
    pieces = []
    for piece in _slices(text):
        pieces.append(compressor.compress(bytes(piece)))
        yield
    # Writes nothing in python-snappy 0.7; other releases buffer and return the rest here.
    flush = getattr(compressor, "flush", None)
    return b"".join([*pieces, flush() or b"" if callable(flush) else b""])
