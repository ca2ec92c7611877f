"""A command that is run each night; it needs one word more to be watched."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pushgate_django import PushgateMixin


class Command(PushgateMixin, BaseCommand):
    pushgate_expect_every = "24h"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prices", type=int)

    def handle(self, *, prices: int, **_: Any) -> None:
        if prices == 0:
            raise CommandError("the file is empty", returncode=3)
        self.pushgate.gauge("prices_imported", "Prices of the last import.").set(prices)
        self.stdout.write(f"{prices} prices imported")
