"""Loads tables side by side in an event loop, and pushes beside it."""

import asyncio
import os

from prometheus_client import CollectorRegistry, Gauge

from pushgate import AsyncGateway
from pushgate_subprocess import job

registry = CollectorRegistry()
rows = Gauge("rows_copied", "Rows copied so far.", ["table"], registry=registry)


async def copy(table: str) -> None:
    async with job("copy", group={"table": table}):
        for _ in range(3):
            await asyncio.sleep(0.01)
            rows.labels(table).inc(100)


async def main() -> None:
    async with (
        AsyncGateway(os.environ["PUSHGATE_GATEWAY"]) as gateway,
        gateway.every(0.02, "copy-progress", registry),
    ):
        await asyncio.gather(*(copy(table) for table in ("orders", "users", "items")))


if __name__ == "__main__":
    asyncio.run(main())
