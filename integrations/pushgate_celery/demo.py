"""Celery's part of ``pushgate demo``: a worker that runs three tasks, one of which fails.

Enters: a folder for the broker's files, as the argument, a line on stdin as the signal to begin,
and the gateway from the environment. Leaves: exit code 0 when the three have run.
"""

from __future__ import annotations

import os
import sys

from celery import Celery, signals
from celery.worker import state

from pushgate_celery import current, install

__all__ = ("app", "main")

app = Celery("shop", broker="filesystem://", set_as_current=True)


@app.task  # type: ignore[untyped-decorator]
def import_prices(table: str, rows: int) -> None:
    """Tell how many rows were imported."""
    current().inc("rows_imported", rows, table=table)


@app.task  # type: ignore[untyped-decorator]
def charge(order: int) -> None:
    """Fail for one order."""
    if order == 13:
        raise ValueError(f"order {order} was declined")


def main(folder: str) -> int:
    """Run the tasks in a worker of this process."""
    os.makedirs(folder, exist_ok=True)
    app.conf.broker_transport_options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
    }
    install(app, linger=1, shutdown_timeout=3)
    left = {
        import_prices.delay("vegetables", 1200).id,
        charge.delay(11).id,
        charge.delay(13).id,
    }

    @signals.task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
    def _(task_id: str, **_: object) -> None:
        left.discard(task_id)
        if not left:
            state.should_stop = 0  # the exit code

    sys.stdin.readline()
    app.Worker(pool="solo", hostname="shop@localhost", loglevel="INFO").start()
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
