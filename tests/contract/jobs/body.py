"""What each job does, in its own process, and how it says what became of it."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Mapping


class JobError(Exception):
    """The job's own error, which must reach its caller."""


def log_to_stderr() -> None:
    """pushgate's log lines go to stderr as `pushgate: …`, and nowhere else."""
    logger = logging.getLogger("pushgate")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("pushgate: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def body(job: Mapping[str, object]) -> None:
    """Print "ran". Raises JobError where the job is to fail."""
    print("ran", flush=True)
    if job["forks"]:
        child = multiprocessing.get_context("fork").Process(target=print, args=("forked",))
        child.start()
        child.join()
        assert child.exitcode == 0
    if job["fails"]:
        raise JobError("the job's own error")


def tell(result: str) -> None:
    """Print what the job's caller sees: "success" or "failure"."""
    print(result, flush=True)
