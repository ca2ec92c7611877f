"""The demo's Celery worker: runs three tasks, one of which fails, and ends with 0 after them.

The argument is a folder for the broker's files. The gateway is $PUSHGATE_GATEWAY. It begins when it
reads a line from stdin.
"""

import sys

from celery import Celery, signals
from celery.worker import state

from pushgate_celery import current, install

app = Celery("shop", broker="filesystem://", set_as_current=True)


@app.task
def import_prices(table: str, rows: int) -> None:
    current().inc("rows_imported", rows, table=table)


@app.task
def charge(order: int) -> None:
    if order == 13:
        raise ValueError(f"order {order} was declined")


def main(folder: str) -> int:
    names = ("data_folder_in", "data_folder_out", "control_folder")
    app.conf.broker_transport_options = dict.fromkeys(names, folder)
    install(app, linger=1, shutdown_timeout=3)
    waiting = {
        import_prices.delay("vegetables", 1200).id,
        charge.delay(11).id,
        charge.delay(13).id,
    }

    @signals.task_postrun.connect(weak=False)
    def _(task_id: str, **_: object) -> None:
        waiting.discard(task_id)
        if not waiting:
            state.should_stop = 0  # the worker's exit code

    sys.stdin.readline()
    app.Worker(pool="solo", hostname="shop@localhost", loglevel="INFO").start()
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
