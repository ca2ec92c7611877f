"""The help of ``pushgate run``, as a parser. ``cmd_run`` reads the options: it starts faster."""

from __future__ import annotations

import argparse

from .parser import Parser, add_option

EXPECT_EVERY = (
    "for the alert on missed runs: 24h, or cron's times as in '0 9-17 * * mon-fri Europe/Berlin'"
)

# Heading; then option, placeholder and help.
_OPTIONS = (
    (
        "time limit",
        ("--timeout", "DURATION", "end the command after 90s, 15m, 2h: exit code 124"),
        ("--signal", "NAME", "the signal that ends it (TERM)"),
        ("--kill-after", "DURATION", "after so long, KILL (10s): exit code 137"),
        ("--preserve-status", "", "at the time limit, exit as the command does"),
    ),
    (
        "success",
        ("--success-codes", "N,...", "the exit codes that count as success (0)"),
        ("--min-duration", "DURATION", "a run that is shorter counts as failed"),
    ),
    (
        "overlap",
        ("--lock", "FILE", "one run at a time"),
        ("--lock-wait", "DURATION", "how long to wait for the lock (0s)"),
        ("--on-locked", "WORD", "skip: publish that, exit 0; or fail: exit 75"),
    ),
    (
        "publishing",
        ("--expect-every", "SCHEDULE", EXPECT_EVERY),
        ("--heartbeat", "DURATION", "push now and then while the command runs"),
        ("--no-start-push", "", "push the end only"),
        ("--push-timeout", "DURATION", "the longest that pushing the end may take (10s)"),
        (
            "--textfile",
            "DIR",
            "write DIR/NAME.prom for node_exporter as well, or only, where no gateway is set",
        ),
        ("--dry-run", "", "print the metrics to stderr, push nothing"),
    ),
    (
        "output",
        ("--quiet-on-success", "", "print the command's output only if it fails"),
        ("--tail-bytes", "N", "as --quiet-on-success, the last N bytes of each stream"),
    ),
)


def parser() -> Parser:
    """The parser of ``pushgate run``."""
    made = Parser(
        "run",
        "Run a command and put how it went into Prometheus. The command's exit code,\n"
        "signals, terminal and streams are as without pushgate, whatever the gateway\n"
        "does. A push that fails is one line on stderr.",
        "The command may append metrics of its own, in Prometheus text:\n"
        '  echo "rows_loaded 42" >> "$PUSHGATE_METRICS_FILE"\n\n'
        "Exit codes: the command's; 124 time limit; 125 wrong option; 126 can't be\n"
        "executed; 127 not found; 128+N killed by signal N.",
    )
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="with arguments")
    made.add_group()
    made.add_output("quiet", "verbose")
    for heading, *options in _OPTIONS:
        group = made.add_argument_group(heading)
        for option, placeholder, text in options:
            add_option(group, option, placeholder, text)
    made.add_gateway("retries", "push", "outbox")
    return made
