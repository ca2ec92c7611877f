"""Two flows of a shop. Prefect starts a server of its own for them where none is configured."""

from prefect import flow

from pushgate_prefect import hooks


@flow(**hooks(job="shop"))
def import_prices(supplier: str) -> int:
    return len(supplier)


@flow(**hooks(job="shop"), retries=1)
def send_invoices() -> None:
    raise ConnectionError("the mail server is away")


if __name__ == "__main__":
    import_prices("vegetables")
    send_invoices(return_state=True)
