"""A scheduler of two jobs, of which one fails; the gateway is the one in PUSHGATE_GATEWAY."""

import signal

from apscheduler.schedulers.blocking import BlockingScheduler

from pushgate_apscheduler import install

scheduler = BlockingScheduler()
install(scheduler)


@scheduler.scheduled_job("interval", seconds=1, id="import-prices")
def import_prices() -> None:
    print("prices imported")


@scheduler.scheduled_job("interval", seconds=1, id="send-invoices")
def send_invoices() -> None:
    raise ConnectionError("the mail server is away")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: scheduler.shutdown())
    scheduler.start()
