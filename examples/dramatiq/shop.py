"""Three actors on the redis in REDIS_URL: one ends well, one fails, and one is tried again."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from pushgate_dramatiq import Pushgate

broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Pushgate())
dramatiq.set_broker(broker)


@dramatiq.actor(schedule=3600)
def import_prices(table: str) -> None:
    print(f"{table} imported")


@dramatiq.actor(max_retries=0)
def charge(order: int) -> None:
    raise ValueError(f"order {order} was declined")


@dramatiq.actor
def send_invoices() -> None:
    raise ConnectionError("the mail server is away")


if __name__ == "__main__":
    import_prices.send("vegetables")
    charge.send(13)
    send_invoices.send()
