"""A server's response, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message


__all__ = ("BodyStream", "Response", "ResponseError")

_LONGEST_WORD = 64  # bytes, of a body such as "OK"


class ResponseError(OSError):
    """A response that is cut short, or not HTTP. The text may repeat what the server has sent."""


class BodyStream:
    """The body of a success in pieces. ``close`` is called after it, or with this object.

    ``explain`` makes of an OSError the error that is raised.
    """

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self.explain: Callable[[OSError], Exception] = lambda error: error
        self._pieces = pieces
        self.close = close

    def __iter__(self) -> BodyStream:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except OSError as error:
            self.close()
            raise self.explain(error) from None
        except StopIteration:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()


class Response(NamedTuple):
    """``body`` may be cut after the bytes asked for; ``headers`` are None on a plain acceptance.

    ``chunks`` are the body of a response that was asked for as a stream, and is a success.
    """

    status: int
    reason: str
    headers: Message | None
    body: bytes
    chunks: BodyStream | None = None

    def is_of_another_server(self, method: str) -> bool:
        """Whether this success can't be a Pushgateway's: a web page, or any page after a push.

        A Pushgateway answers a push with an empty body. A short word is let pass.
        """
        if self.headers is None:
            return False
        kind, length = self.headers.get_content_type(), self.headers.get("Content-Length")
        if "html" in kind:
            return length != "0"
        if method == "GET" or not self.body:
            return False
        is_word = kind == "text/plain" and len(self.body) <= _LONGEST_WORD
        return not is_word or self.body.lstrip().startswith(b"<")
