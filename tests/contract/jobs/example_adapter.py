"""The adapter of examples/adapter, as docs/adapters.md explains it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "adapter"))

import pushgate_taskline
from taskline import Line

from contract.jobs.body import body, log_to_stderr, tell


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()

    def load() -> None:
        body(job)

    line = Line()
    uninstall = pushgate_taskline.install(line)
    tell("success" if line.run(load) else "failure")
    uninstall()
