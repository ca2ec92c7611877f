"""Tasks that do nothing, for tests/benchmarks/celery_throughput.py.

config.json in the current folder has ``broker``, ``gateway``, and ``way``, how it is measured.
"""

import json
import os
import time
from pathlib import Path

import redis
from celery import Celery, signals

CONFIG = json.loads(Path("config.json").read_text())

app = Celery("bench", broker=CONFIG["broker"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task(name="bench.noop")
def noop():
    pass


@app.task(name="bench.mark")
def mark():
    with redis.Redis.from_url(CONFIG["broker"]) as store:
        store.rpush("marks", time.time())


if CONFIG["way"] == "pushgate":
    import pushgate_celery

    pushgate_celery.install(app, CONFIG["gateway"])
elif CONFIG["way"] == "push":
    from prometheus_client import CollectorRegistry, Counter, push_to_gateway

    registry = CollectorRegistry()
    finished = Counter("tasks_finished", "Tasks", ["task", "state"], registry=registry)

    @signals.task_postrun.connect(weak=False)
    def push(sender, state, **_):
        finished.labels(sender.name, state).inc()
        push_to_gateway(CONFIG["gateway"], "each", registry, {"instance": str(os.getpid())})
