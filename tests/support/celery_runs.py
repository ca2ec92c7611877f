"""Tasks run through Celery's own tracer in this process, and the records that come of it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

from celery import Celery
from celery.app.trace import build_tracer
from celery.utils import uuid

from pushgate import RateLimitedLogger
from pushgate_celery import _task_records
from pushgate_celery._celery_options import Options
from pushgate_celery._worker import Worker

_TYPES = {
    _task_records.START: _task_records.Start,
    _task_records.END: _task_records.End,
    _task_records.COUNT: _task_records.Count,
    _task_records.METRIC: _task_records.MetricUpdate,
    _task_records.WORKER: _task_records.WorkerState,
    _task_records.KNOWN: _task_records.Known,
}


class Sender(SimpleNamespace):
    """What sends a signal."""

    __hash__ = object.__hash__


class ListRelay:
    """Keeps what is written; ``writing`` is called with each record before."""

    def __init__(self):
        self.records = []
        self.closed = []
        self.writing = lambda record: None

    def write(self, record):
        self.writing(record)
        self.records.append(record)
        return True

    def flush(self, timeout=0.0):
        return True

    def ensure_running(self):
        return False

    def detach(self):
        pass

    def close(self, timeout):
        self.closed.append(timeout)
        return True

    def of(self, *kinds):
        """The records of these kinds, as tuples with names."""
        return [_TYPES[kind](*rest) for kind, *rest in self.records if kind in kinds]

    @property
    def starts(self):
        return self.of(_task_records.START)

    @property
    def ends(self):
        return self.of(_task_records.END)

    @property
    def counts(self):
        return self.of(_task_records.COUNT)

    @property
    def metrics(self):
        return self.of(_task_records.METRIC)


def make_app(**conf):
    app = Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_default_queue="default", **conf)
    return app


@contextmanager
def observed(app, **options):
    """A ListRelay that gets what a worker of this app would tell the pusher."""
    relay = ListRelay()
    worker = Worker(app, Options(**options), relay, RateLimitedLogger())
    relay.worker = worker
    worker.connect()
    try:
        yield relay
    finally:
        worker.stop()


def request_of(task, **fields):
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


def run(task, *args, request=None, **kwargs):
    """Run a task as a worker does, and return what its tracer does."""
    request = request or request_of(task)
    tracer = build_tracer(task.name, task, app=task.app)
    return tracer(request["id"], args, kwargs, request)
