"""``pushgate gateway``: the embedded gateway as a process, until Ctrl-C or TERM."""

from __future__ import annotations

import errno
import signal

from ..embedded import EmbeddedGateway
from .exit_status import CommandError, UsageError
from .parsed_options import ParsedOptions
from .parser import Parser


def parser() -> Parser:
    made = Parser(
        "gateway",
        "An in-memory Pushgateway for development and tests. It keeps nothing on disk and\n"
        "asks for no password: leave it on a loopback address.",
    )
    made.add_argument(
        "--listen",
        default="127.0.0.1:9091",
        metavar="[ADDRESS:]PORT",
        help="where to listen, by default %(default)s; port 0 takes a free one",
    )
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 after Ctrl-C or TERM. Raises CommandError where it can't listen."""
    host, port = _address(options.listen)
    gateway = EmbeddedGateway(host, port)
    # Also INT: a shell starts its background jobs with INT ignored.
    stopping = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.default_int_handler) for number in stopping]
    try:
        try:
            gateway.start()
        except OSError as error:
            raise CommandError(_why_not(error, host, port)) from error
        print(f"listening on {gateway.url}; Ctrl-C ends it", flush=True)
        gateway.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in zip(stopping, before, strict=True):
            signal.signal(number, handler)
        gateway.stop()
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise UsageError(f"--listen {text!r}: write it as ADDRESS:PORT, such as 127.0.0.1:9091")
    return host, int(port)


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"another process listens on {host}:{port}; end it, or choose another port with"
            f" --listen {host}:{port + 1 if port < 65535 else 0}"
        )
    return f"can't listen on {host}:{port}: {error.strerror or error}"
