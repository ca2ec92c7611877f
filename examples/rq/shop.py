"""Three jobs: one ends well, one raises, and one loses its process, as by the OOM killer."""

import os
import signal


def import_prices(table: str) -> int:
    return len(table)


def send_invoices() -> None:
    raise ConnectionError("the mail server is away")


def render_catalogue() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
