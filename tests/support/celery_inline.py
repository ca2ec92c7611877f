"""Tasks run through Celery's own tracer in this process, and what a gateway then holds of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.app.trace import build_tracer
from celery.utils import uuid

from pushgate import Gateway
from pushgate.embedded import EmbeddedGateway
from pushgate_celery import install


def make_app(**conf: object) -> Celery:
    app = Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_default_queue="default", **conf)
    return app


class Seen:
    """What the gateway holds now."""

    def __init__(self, url: str) -> None:
        self._gateway = Gateway(url)

    def group(self, **labels: str) -> Any:
        """The group ``{job="celery"}`` with these labels and no others; None where it is not."""
        wanted = {"job": "celery", **labels}
        return next((g for g in self._gateway.groups() if g.labels == wanted), None)

    def task(self, name: str) -> dict[str, float]:
        """A task's group, without the names' beginning and end."""
        group = self.group(task=name)
        return {
            family.name.removeprefix("batch_job_").removesuffix("_seconds"): family.samples[0].value
            for family in (group.families if group else ())
            if family.name.startswith("batch_job_")
        }

    def counts(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """A series of the worker's: label values to value, without zeros."""
        found: Counter[tuple[str, ...]] = Counter()
        for group in self._gateway.groups():
            if "instance" in group.labels:
                for sample in (s for family in group.families for s in family.samples):
                    if sample.name == name:
                        found[tuple(sample.labels.get(each, "") for each in labels)] += sample.value
        return +found

    @property
    def ends(self) -> Counter[tuple[str, str]]:
        """How often each task ended in each state."""
        return self.counts("celery_task_finished_total", "task", "state")

    @property
    def exceptions(self) -> Counter[tuple[str, str]]:
        return self.counts("celery_task_exceptions_total", "task", "exception")

    def total(self, name: str) -> float:
        return self.counts(name)[()]


@contextmanager
def observed(app: Celery, **options: Any) -> Iterator[Seen]:
    """Observe the app's tasks in this process; each is pushed before it returns."""
    with EmbeddedGateway() as server:
        installation = install(app, Gateway(server.url), transport="inline", **options)
        try:
            yield Seen(server.url)
        finally:
            installation.uninstall()


def request_of(task: Any, **fields: object) -> dict[str, Any]:
    """A message's fields, as they reach the process that executes the task."""
    return {
        "id": uuid(),
        "task": task.name,
        "retries": 0,
        "eta": None,
        "is_eager": False,
        "timelimit": [None, None],
        "delivery_info": {"exchange": "", "routing_key": "default", "redelivered": False},
        **fields,
    }


def run(task: Any, *args: object, request: dict[str, Any] | None = None, **kwargs: object) -> Any:
    """Run a task as a worker does, and return what its tracer does."""
    request = request or request_of(task)
    return build_tracer(task.name, task, app=task.app)(request["id"], args, kwargs, request)
