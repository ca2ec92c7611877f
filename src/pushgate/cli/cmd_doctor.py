"""``pushgate doctor``: finds what is wrong between this host and its gateway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..doctor import Finding, examine
from ..doctor.finding import FAIL, fail
from ..errors import SettingsError
from .formatting import colored, print_json, printable
from .parsed_options import ParsedOptions
from .parser import Parser, add_option

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLORS = {FAIL: "red", "warn": "yellow"}


def parser() -> Parser:
    made = Parser(
        "doctor",
        "Check the settings, the network, the gateway, its groups and the outbox. Nothing\n"
        "is written to the gateway without --push.",
        "exit status: 0 no check failed, 1 one did, 2 wrong usage",
    )
    add_option(made, "--push", "", 'also push a group {job="pushgate_doctor"} and delete it')
    made.add_output("json", "quiet", json="for scripts, a list of the findings")
    made.add_gateway("request", "push", "outbox")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 1 where a check failed, else 0."""
    findings = []
    for finding in _findings(options):
        findings.append(finding)
        if not options.json:
            _print(finding)
    if options.json:
        print_json([finding._asdict() for finding in findings])
    return 1 if any(finding.level == FAIL for finding in findings) else 0


def _findings(options: ParsedOptions) -> Iterator[Finding]:
    try:
        settings = options.load_settings()
    except SettingsError as error:
        yield fail("settings", str(error))
        return
    yield from examine(settings, os.environ, push=options.push)


def _print(finding: Finding) -> None:
    level = colored(f"{finding.level:<4}", _COLORS.get(finding.level, ""))
    print(f"{level}  {finding.subject}: {printable(finding.text)}", flush=True)
    if finding.advice:
        print(f"      -> {printable(finding.advice)}", flush=True)
