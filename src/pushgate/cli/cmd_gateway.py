"""``pushgate gateway``: the embedded gateway as a process, until Ctrl-C or TERM."""

from __future__ import annotations

from ..embedded import EmbeddedGateway
from .exit_status import CommandError, UsageError
from .parsed_options import ParsedOptions
from .parser import Parser, add_option
from .serving import until_ended, why_not_listening


def parser() -> Parser:
    made = Parser(
        "gateway",
        "An in-memory Pushgateway for development and tests. It keeps nothing on disk and\n"
        "asks for no password: leave it on a loopback address.",
    )
    text = "where to listen, by default %(default)s; port 0 takes a free one"
    add_option(made, "--listen", "[ADDRESS:]PORT", text, default="127.0.0.1:9091")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 after Ctrl-C or TERM. Raises CommandError where it can't listen."""
    host, port = _address(options.listen)
    gateway = EmbeddedGateway(host, port)
    with until_ended():
        try:
            gateway.start()
        except OSError as error:
            raise CommandError(why_not_listening(error, host, port, f"--listen {host}:")) from error
        print(f"listening on {gateway.url}; Ctrl-C ends it", flush=True)
        gateway.serve_forever()
    gateway.stop()
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise UsageError(f"--listen {text!r}: write it as ADDRESS:PORT, such as 127.0.0.1:9091")
    return host, int(port)
