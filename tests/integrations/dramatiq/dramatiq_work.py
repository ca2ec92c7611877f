"""The actors of the tests, on the redis in $REDIS_URL; workers and tests import it."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, CurrentMessage, Retries, Shutdown
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from pushgate_dramatiq import Pushgate

url = os.environ["REDIS_URL"]
# What a killed worker had is sent again after a second.
broker = RedisBroker(url=url, heartbeat_timeout=1000, maintenance_chance=1_000_000)
# Its place among the others does not matter.
place = {"before": Retries} if os.environ.get("PUSHGATE_FIRST") else {}
broker.add_middleware(Pushgate(), **place)
broker.add_middleware(AsyncIO())
broker.add_middleware(CurrentMessage())
broker.add_middleware(Results(backend=RedisBackend(url=url)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, schedule=3600)
def load(number=1):
    return number + 1


@dramatiq.actor(schedule=timedelta(days=1))
async def load_later():
    await asyncio.sleep(0)


@dramatiq.actor(max_retries=0, schedule=["each night"])
def charge():
    raise KeyError("card")


@dramatiq.actor(throws=LookupError)
def reject():
    raise LookupError("not again")


@dramatiq.actor(max_retries=1, min_backoff=1)
def flaky():
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise OSError("again")


@dramatiq.actor(max_retries=1, min_backoff=600_000)
def waits_for_its_retry():
    raise OSError("again")


@dramatiq.actor(time_limit=100, max_retries=0)
def too_long():
    while True:
        time.sleep(0.01)


@dramatiq.actor(max_age=1)
def too_old():
    raise AssertionError("is skipped")


@dramatiq.actor(notify_shutdown=True, max_retries=1)
def tell_and_wait(folder):
    """Say which process this is, and wait until the test lets it go on, or the worker ends."""
    folder = Path(folder)
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    try:
        while not (folder / "go").exists():
            time.sleep(0.02)
    except Shutdown:
        (folder / "interrupted").touch()
        raise
