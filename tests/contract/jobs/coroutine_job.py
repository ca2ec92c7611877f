"""`async with pushgate_subprocess.job(…)`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pushgate_subprocess
from contract.jobs.body import JobError, body, log_to_stderr, tell


async def main(job: Mapping[str, object]) -> None:
    gateway, timeout = str(job["gateway"]), job["push_timeout"]
    async with pushgate_subprocess.job("contract", gateway=gateway, push_timeout=timeout):
        body(job)


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    try:
        asyncio.run(main(job))
    except JobError:
        tell("failure")
    else:
        tell("success")
