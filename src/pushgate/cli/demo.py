"""``pushgate demo``: the main job in half a minute, on a gateway in memory.

Enters: nothing. Leaves: on stdout, two wrapped commands and what a scrape of the gateway sees.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from ..embedded import EmbeddedGateway
from .options import Parser

__all__ = ("main",)

_RUNS = (
    (
        "a job that succeeds and tells how many rows it loaded",
        "nightly-backup",
        'echo "rows_loaded 42" >> "$PUSHGATE_METRICS_FILE"; echo "backing up ... done"',
    ),
    ("a job that fails", "report", 'echo "no such table: orders" >&2; exit 3'),
)


def main(arguments: list[str]) -> int:
    """Show it. Returns 0 when both outcomes arrived."""
    Parser(
        "demo", "Run a succeeding and a failing command against a gateway in memory."
    ).parse_args(arguments)
    # The state of these jobs is not to be taken for that of the user's own.
    with EmbeddedGateway() as gateway, TemporaryDirectory() as state:
        environment = {**os.environ, "PUSHGATE_STATE_DIR": state}
        say(f"A Pushgateway in memory listens on {gateway.url}")
        for title, job, script in _RUNS:
            run = ["run", "--job", job, "--gateway", gateway.url, "-v", "--", "sh", "-c", script]
            say(f"\n# {title}\n$ pushgate {' '.join(run[:-1])} '{script}'")
            argv = [sys.executable, "-m", "pushgate", *run]
            ended = subprocess.run(argv, env=environment, check=False)  # noqa: S603 - our own words
            say(f"exit code {ended.returncode}")
        with urlopen(f"{gateway.url}/metrics") as scrape:  # noqa: S310 - our own gateway
            text = scrape.read().decode()
    say("\n# what Prometheus sees when it scrapes the gateway")
    shown = [line for line in text.splitlines() if line.startswith(("batch_job_", "rows_loaded"))]
    say("\n".join(shown))
    arrived = all(
        f'batch_job_last_run_success{{instance="",job="{job}"}}' in text for _, job, _ in _RUNS
    )
    return 0 if arrived else 1


def say(text: str) -> None:
    """Print at once: the commands write to the same terminal."""
    print(text, flush=True)  # noqa: T201 - this is what the command is for
