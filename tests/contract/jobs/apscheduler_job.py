"""A coroutine as a job of APScheduler. (What is forked from a thread of a pool ends with 1.)"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

import pushgate_apscheduler
from contract.jobs.body import body, log_to_stderr, tell


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it logs what a job raises
    asyncio.run(schedule(job))


async def schedule(job: Mapping[str, object]) -> None:
    async def load() -> None:
        body(job)

    def end(event: JobExecutionEvent) -> None:
        tell("failure" if event.exception else "success")
        over.set()

    over = asyncio.Event()
    scheduler = AsyncIOScheduler(timezone="UTC")
    pushgate_apscheduler.install(scheduler)
    scheduler.add_listener(end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.add_job(load, name="load", misfire_grace_time=None)
    scheduler.start()
    await over.wait()
    scheduler.shutdown()
