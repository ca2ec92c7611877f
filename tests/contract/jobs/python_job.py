"""`with pushgate_subprocess.job(…)`."""

from __future__ import annotations

from collections.abc import Mapping

import pushgate_subprocess
from contract.jobs.body import JobError, body, log_to_stderr, tell


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    try:
        gateway, timeout = str(job["gateway"]), job["push_timeout"]
        with pushgate_subprocess.job("contract", gateway=gateway, push_timeout=timeout):
            body(job)
    except JobError:
        tell("failure")
    else:
        tell("success")
