"""Loads rows and reports how that went."""

import sys

from pushgate_subprocess import job


def load(rows: int) -> None:
    with job("loader", group={"table": "orders"}, expect_every="1h") as run:
        run.gauge("rows_loaded", "Rows loaded by the last run.").set(rows)


@job("nightly-report")
def report() -> None:
    print("reporting")


if __name__ == "__main__":
    load(int(sys.argv[1]))
    report()
