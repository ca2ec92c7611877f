"""A shop's background work: an import, charges of which some fail, and a count on a schedule."""

import os

from celery import Celery

from pushgate_celery import current, install

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "redis://localhost"))
app.conf.beat_schedule = {"count the stock": {"task": "shop.count_stock", "schedule": 2.0}}

if folder := os.environ.get("SHOP_FOLDER"):  # a broker that needs no server
    app.conf.broker_url = "filesystem://"
    app.conf.broker_transport_options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
    }

install(app)  # the gateway is $PUSHGATE_GATEWAY


class PaymentDeclinedError(Exception):
    pass


@app.task
def import_prices(table: str, rows: int) -> None:
    current().inc("rows_imported", rows, table=table)


@app.task
def charge(order: int) -> None:
    if order == 13:
        raise PaymentDeclinedError(order)


@app.task
def count_stock() -> None:
    current().set("items_in_stock", 42)
