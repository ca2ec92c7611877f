"""``pushgate push``: checks Prometheus text from a file or stdin, and pushes it unchanged."""

from __future__ import annotations

import sys
from contextlib import suppress

from ..errors import InvalidPayloadError
from ..protocol.checked_text import checked_text
from .common_options import (
    Parser,
    add_gateway_options,
    add_group_options,
    grouping_key,
    load_settings,
)
from .exit_status import CommandError, complain
from .keep_option import add_keep_option, send


def main(arguments: list[str]) -> int:
    """Returns 0 when the gateway, or with ``--keep`` the outbox, has the metrics.

    Raises CommandError for metrics that a gateway would refuse.
    """
    options = _parser().parse_args(arguments)
    key = grouping_key(options)
    settings = load_settings(options)
    gateway = settings.to_gateway()  # raises before stdin is read
    name = "stdin" if options.file == "-" else options.file
    try:
        text = _read(options.file)
        payload = checked_text(text, key, utf8_names=settings.utf8_names)
    except InvalidPayloadError as error:
        advice = ""
        if not settings.utf8_names:
            with suppress(InvalidPayloadError):
                checked_text(text, key, utf8_names=True)
                advice = "; names in quotes need --utf8-names, and a gateway that takes them"
        raise CommandError(f"{name}, {error}{advice}") from None
    if not payload.samples and not (options.add or options.clear):
        raise CommandError(
            f"{name}: there is no metric in it, and pushing it would empty the group {key}; give"
            " --clear to do that"
        )
    if payload.utf8_names:
        gateway.require_utf8_names()
    method = "POST" if options.add else "PUT"
    return send(settings, method, key, payload.text, keep=options.keep)


def _parser() -> Parser:
    parser = Parser(
        "push",
        "Push metrics in Prometheus's text format. By default they replace all metrics of the\n"
        "group. Metrics that a gateway would refuse are refused here, with the line.",
        "example; without a line '# TYPE rows_loaded gauge' before it, the metric is untyped:\n"
        "  echo rows_loaded 42 | pushgate push --job nightly-load --add",
    )
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="the metrics; - or none is stdin"
    )
    add_group_options(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--add", action="store_true", help="keep the group's metrics of other names (POST)"
    )
    how.add_argument(
        "--clear", action="store_true", help="allow an empty FILE, which empties the group"
    )
    add_keep_option(parser)
    add_gateway_options(parser)
    return parser


def _read(file: str) -> bytes:
    try:
        if file != "-":
            with open(file, "rb") as opened:
                return opened.read()
        if sys.stdin is None:
            return b""
        if sys.stdin.isatty():
            complain("reading metrics from the terminal; Ctrl-D ends them")
        return sys.stdin.buffer.read()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from error
