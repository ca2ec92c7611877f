"""``pushgate doctor``: finds what is wrong between this host and its gateway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..doctor import Finding, examine
from ..doctor.finding import fail
from ..errors import SettingsError
from .common_options import Parser, add_gateway_options, add_json_option, load_settings
from .formatting import colored, print_json, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_COLORS = {"FAIL": "red", "warn": "yellow"}


def main(arguments: list[str]) -> int:
    """Returns 1 where a check failed, else 0."""
    parser = Parser(
        "doctor",
        "Check the settings, the network, the gateway, its groups and the outbox. Nothing is\n"
        "written to the gateway without --push.",
        "exit status: 0 no check failed, 1 one did, 2 wrong usage",
    )
    parser.add_argument(
        "--push", action="store_true", help='also push a group {job="pushgate_doctor"}, delete it'
    )
    add_json_option(parser, "for scripts, a list of the findings")
    add_gateway_options(parser)
    options = parser.parse_args(arguments)
    checks = []
    for check in _checks(options):
        checks.append(check)
        if not options.json:
            _print(check)
    if options.json:
        print_json([check._asdict() for check in checks])
    return 1 if any(check.level == "FAIL" for check in checks) else 0


def _checks(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        settings = load_settings(options)
    except SettingsError as error:
        yield fail("settings", str(error))
        return
    yield from examine(settings, os.environ, push=options.push)


def _print(check: Finding) -> None:
    level = colored(f"{check.level:<4}", _COLORS.get(check.level, ""))
    print(f"{level}  {check.subject}: {printable(check.text)}", flush=True)
    if check.advice:
        print(f"      -> {printable(check.advice)}", flush=True)
