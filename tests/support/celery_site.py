"""A redis database with a ledger, the workers that write it, and what a gateway holds of them.

The processes end with the given stack. :class:`Totals` reads a gateway in the ledger's words.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import celery
import redis
from celery.states import READY_STATES, RETRY

from pushgate import Gateway
from support.workers import PATIENCE, Beat, Worker, until


class Site:
    """One database, with all that works on it: workers, a client, the ledger."""

    def __init__(self, folder, url, stack, broker=None):
        self.folder = folder
        self.url = url
        self.broker = broker or url
        self._stack = stack
        self._started = 0
        self.redis = stack.enter_context(
            redis.Redis.from_url(url, decode_responses=True, protocol=2)
        )
        # Without a backend: results in hand subscribe to theirs, and outlive the connection.
        self.client = stack.enter_context(
            celery.Celery("client", broker=self.broker, set_as_current=False)
        )

    def _next(self, kind, app, arguments, gateway, options, more, **keywords):
        self._started += 1
        config = {
            "broker": self.broker,
            "ledger": self.url,
            "gateway": getattr(gateway, "url", gateway),
            "options": {} if options is None else options,
            **(more or {}),
        }
        folder = self.folder / f"{kind.__name__.lower()}{self._started}"
        process = self._stack.enter_context(
            kind(folder, app, *arguments, config=config, **keywords)
        )
        # pytest shows it for a test that fails.
        self._stack.callback(lambda: print(f"--- log of {folder.name}\n{process.log}"))
        return process

    def worker(
        self,
        gateway,
        *arguments,
        app="ledger",
        options=None,
        conf=None,
        pool="prefork",
        concurrency=2,
        node="w1@test",
        more=None,
        environment=None,
        prefix=(),
        wait=True,
    ):
        """A worker that is ready (unless told not to wait), killed with the test."""
        return self._next(
            *(Worker, app, arguments, gateway, options, {"conf": conf or {}, **(more or {})}),
            pool=pool,
            concurrency=concurrency,
            node=node,
            environment=environment or {},
            prefix=prefix,
            wait=wait,
        )

    def beat(self, gateway, *arguments, app="ledger", options=None, conf=None):
        return self._next(Beat, app, arguments, gateway, options, {"conf": conf or {}})

    def send(self, name, *args, **options):
        """Publish a task by name, without pushgate in this process. Returns its id."""
        return self.client.send_task(f"ledger.{name}", args, **options).id

    def finish(self, ids, patience=PATIENCE):
        """Wait until all of these have a result, whichever."""
        for task_id in ids:
            until(partial(self._is_over, task_id), f"{task_id} ends", patience)

    def _is_over(self, task_id):
        state = self.result(task_id)
        # A try stores that it will be repeated after it has sent the next, which may be faster.
        return state in READY_STATES or (state == RETRY and self.redis.sismember("over", task_id))

    def result(self, task_id):
        """The state that the worker stored, or None."""
        stored = self.redis.get(f"celery-task-meta-{task_id}")
        return json.loads(stored)["status"] if stored else None

    @property
    def ledger(self):
        """What really happened: "<task> <what>" → how often, without "ledger." before the tasks."""
        written = self.redis.hgetall("ledger").items()
        return Counter({key.removeprefix("ledger."): int(count) for key, count in written})

    def wait_ledger(self, key, count=1):
        until(lambda: self.ledger[key] >= count, lambda: f"{key} {count} times: {self.ledger}")

    def time_of(self, task_id):
        """When the task wrote that it had started."""
        return float(self.redis.hget("times", task_id))


class Totals:
    """What a gateway holds of Celery's, read once."""

    def __init__(self, url, job="celery"):
        self.groups = [g for g in Gateway(url).groups() if g.labels.get("job") == job]

    @property
    def workers(self):
        return [group for group in self.groups if "instance" in group.labels]

    def task_group(self, task):
        """The outcome group of a task, None where there is none."""
        wanted = f"ledger.{task}"
        found = [
            g
            for g in self.groups
            if g.labels.get("task") == wanted and set(g.labels) <= {"job", "task"}
        ]
        return found[0] if found else None

    def samples(self, name):
        return [
            sample
            for group in self.workers
            for family in group.families
            for sample in family.samples
            if sample.name == name
        ]

    def sum(self, name, **labels):
        """Over all workers and all samples that have these labels; None where there is none."""
        values = [s.value for s in self.samples(name) if labels.items() <= s.labels.items()]
        return sum(values) if values else None

    def counted(self, name, *labels):
        """Label values → total, without zeros; "ledger." is taken off the tasks."""
        found = Counter()
        for sample in self.samples(name):
            key = tuple(sample.labels.get(label, "").removeprefix("ledger.") for label in labels)
            found[key] += int(sample.value)
        return +found

    @property
    def as_ledger(self):
        """The totals in the ledger's words."""
        found = Counter()
        for (task,), count in self.counted("celery_task_started_total", "task").items():
            found[f"{task} started"] += count
        for (task,), count in self.counted("celery_task_retried_total", "task").items():
            found[f"{task} retry"] += count
        ends = self.counted("celery_task_finished_total", "task", "state")
        for (task, state), count in ends.items():
            found[f"{task} {state}"] += count
        named = self.counted("celery_task_exceptions_total", "task", "exception")
        for (task, exception), count in named.items():
            found[f"{task} raised {exception}"] += count
        return found
