"""``pushgate push``: checks Prometheus text from a file or stdin, and pushes it.

A metric without a TYPE line is a gauge, as in ``$PUSHGATE_METRICS_FILE``: a gateway takes one type
for a name from all groups, and the two must not exclude each other.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DeliveryError, InvalidPayloadError, PushError
from ..protocol.checked_text import checked_text
from ..protocol.names import quoted_metric, selector
from ..protocol.parse import parse_text
from .exit_status import CommandError, complain
from .keep_option import add_keep_option, send
from .parsed_options import ParsedOptions
from .parser import Parser, add_option

if TYPE_CHECKING:
    from ..gateway.client import Gateway
    from ..protocol.parse import TextFamily


def parser() -> Parser:
    made = Parser(
        "push",
        "Push metrics in Prometheus's text format. By default they replace all metrics of\n"
        "the group. Metrics that a gateway would refuse are refused here, with the line.",
        "example; it is a gauge without a line such as '# TYPE rows_loaded counter':\n"
        "  echo rows_loaded 42 | pushgate push --job nightly-load --add",
    )
    made.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="the metrics; - or none is stdin"
    )
    made.add_group()
    how = made.add_mutually_exclusive_group()
    add_option(how, "--add", "", "keep the group's metrics of other names (POST)")
    add_option(how, "--clear", "", "allow an empty FILE, which empties the group")
    add_keep_option(made)
    made.add_output("quiet", "verbose")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0 when the gateway, or with ``--keep`` the outbox, has the metrics.

    Raises CommandError for metrics that a gateway would refuse.
    """
    key = options.grouping_key()
    settings = options.load_settings()
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
    families = parse_text(payload.text, utf8_names=settings.utf8_names)
    method = "POST" if options.add else "PUT"
    try:
        return send(options, method, key, _typed(payload.text, families))
    except (CommandError, DeliveryError) as error:
        if "is not a " not in str(error):
            raise
        raise CommandError(f"{error}; {_advice_on_types(gateway, families)}") from error


def _typed(text: bytes, families: dict[str, TextFamily]) -> bytes:
    """``text`` with a TYPE line for each metric that has none; as it is where all have one."""
    untyped = [family for family in families.values() if not family.has_type_line]
    for family in untyped:
        family.type = "gauge"
        family.lines.insert(0, f"# TYPE {quoted_metric(family.name)} gauge")
    return b"".join(family.text for family in families.values()) if untyped else text


def _advice_on_types(gateway: Gateway, families: dict[str, TextFamily]) -> str:
    """What to change where the gateway has a metric with another type, in whichever group."""
    with suppress(PushError):
        for group in gateway.iter_groups():
            for held in group.families:
                mine = families.get(held.name)
                if mine is not None and mine.type != held.type:
                    return (
                        f"{held.name} is a {held.type} in {selector(group.labels)}: put the line"
                        f" '# TYPE {quoted_metric(held.name)} {held.type}' before the sample, or"
                        " rename the metric"
                    )
    return (
        "another group has this metric with another type: put a line '# TYPE NAME TYPE' before the"
        " sample, or rename the metric"
    )


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
