"""A management command of Django with pushgate's mixin, called as from manage.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django
from django.conf import settings
from django.core.management.base import BaseCommand

from contract.jobs.body import JobError, body, log_to_stderr, tell
from pushgate_django import PushgateMixin

settings.configure(PUSHGATE={})
django.setup()


class Command(PushgateMixin, BaseCommand):
    requires_system_checks = ()
    job: Mapping[str, object]

    def handle(self, *args: Any, **options: Any) -> None:
        body(self.job)


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    settings.PUSHGATE.update(gateway=job["gateway"], timeout=job["push_timeout"])
    command = Command()
    command.job = job
    try:
        command.run_from_argv(["manage.py", "django_command"])
    except JobError:
        tell("failure")
    else:
        tell("success")
