"""What measuring costs a Celery worker: pushgate beside what people do today, and beside nothing.

    python tests/benchmarks/celery_throughput.py [--quick]

One prefork worker with two children, redis, a real Pushgateway, tasks that do nothing, queued
before the worker starts. Ways take turns in every round, so a machine that slows down slows them
all; figures are medians over the rounds, and only the ratios are worth quoting. Nothing is
asserted but that the totals are exact.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import celery
import redis
from celery import Celery, signals

import pushgate_celery
from support import brokers, debian, servers
from support.celery_site import Totals
from support.workers import Worker, until

WARM_UP = 200  # tasks, before the clock starts
WAYS = {
    "uninstrumented": {},
    "pushgate": {"way": "pushgate"},
    "prometheus_client, push per task": {"way": "push"},
    "worker events (-E)": {"arguments": ["--task-events"]},
}


def fill(broker, tasks):
    """Publish once; each round copies the list."""
    with Celery("publisher", broker=broker, set_as_current=False) as client:
        client.conf.task_default_queue = "stock"
        names = [*["noop"] * WARM_UP, "mark", *["noop"] * tasks, "mark"]
        with client.producer_pool.acquire(block=True) as producer:
            for name in names:
                client.send_task(f"bench.{name}", producer=producer)


PARTS = ("Main", "children", "pusher")


def cpu(worker):
    """Seconds of CPU that the worker's processes have used, by PARTS; its children live on."""
    ticks = dict.fromkeys(PARTS, 0)
    for pid, command in worker.descendants().items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        is_pusher = "pushgate.relay" in command
        part = "pusher" if is_pusher else "Main" if pid == worker.pid else "children"
        ticks[part] += int(fields[11]) + int(fields[12])
    return {part: count / os.sysconf("SC_CLK_TCK") for part, count in ticks.items()}


def run(way, store, config, folder):
    """Seconds and CPU seconds between the two marks, and what was seen of the pusher."""
    store.copy("stock", "celery", destination_db=0, replace=True)
    store.delete("marks")
    options = WAYS[way]
    seen = {}
    config = {**config, "way": options.get("way")}
    arguments = ["--loglevel=WARNING", *options.get("arguments", [])]
    with Worker(folder, "bench", *arguments, config=config, wait=False) as worker:
        until(lambda: store.llen("marks") >= 1, lambda: f"the first mark\n{worker.log}", 300)
        before = cpu(worker)
        until(lambda: store.llen("marks") == 2, lambda: f"the last mark\n{worker.log}", 300)
        used = {part: seconds - before[part] for part, seconds in cpu(worker).items()}
        began, ended = map(float, store.lrange("marks", 0, -1))
        for pid in worker.pushers():
            status = Path(f"/proc/{pid}/status").read_text()
            seen["rss"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        if seen:
            worker.stop()
            totals = Totals(config["gateway"])
            seen["finished"] = totals.sum("celery_task_finished_total", state="success")
            seen["pushes"] = totals.sum("pushgate_pushes_total", result="success")
            seen["groups"] = len(totals.groups)
    return ended - began, used, seen


def spread(values, digits):
    return f"({min(values):.{digits}f}-{max(values):.{digits}f})"


def throughput(gateway, rounds, tasks):
    speeds = {way: [] for way in WAYS}
    used = {way: [] for way in WAYS}
    pushers = []
    with ExitStack() as stack:
        broker = stack.enter_context(brokers.redis()) + "/0"
        store = stack.enter_context(redis.Redis.from_url(broker, decode_responses=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fill(broker, tasks)
        config = {"broker": broker, "gateway": gateway}
        names = list(WAYS)
        for number in range(rounds):
            for way in names[number % len(names) :] + names[: number % len(names)]:
                took, cpu_seconds, seen = run(
                    way, store, config, folder / f"{number}{names.index(way)}"
                )
                speeds[way].append(tasks / took)
                used[way].append({p: s / tasks * 1e3 for p, s in cpu_seconds.items()})
                if seen:
                    pushers.append(seen)
                    assert seen["finished"] == tasks + WARM_UP + 2, seen
    print(
        f"{tasks} tasks, {rounds} rounds (aim: >= 0.97x tasks/s, <= 1.06x CPU)\n{'':36}"
        f"{'tasks/s':>7}{'ratio':>29}{'ms of CPU':>12}{'ratio':>14}   {', '.join(PARTS)}"
    )
    for way, values in speeds.items():
        # Neighbours in time are held against each other: a machine's speed drifts.
        faster = [a / b for a, b in zip(values, speeds["uninstrumented"], strict=True)]
        totals = [sum(parts.values()) for parts in used[way]]
        bare = [sum(parts.values()) for parts in used["uninstrumented"]]
        costlier = [a / b for a, b in zip(totals, bare, strict=True)]
        by_part = [statistics.median(parts[part] for parts in used[way]) for part in PARTS]
        print(
            f"  {way:34}{statistics.median(values):7.0f} {spread(values, 0):14}"
            f"{statistics.median(faster):7.2f}x {spread(faster, 2):12}"
            f"{statistics.median(totals):6.2f}{statistics.median(costlier):7.2f}x"
            f" {spread(costlier, 2):12}   {', '.join(f'{value:.3f}' for value in by_part)}"
        )
    print(
        f"  the pusher: {max(seen['rss'] for seen in pushers):.1f} MiB at most (aim: <= 30), and"
        f" {max(seen['pushes'] for seen in pushers):.0f} pushes of {pushers[0]['groups']} groups"
        " from start to end of a worker"
    )


def handlers(gateway, rounds, tasks):
    """The CPU that install() adds to a task in a child, by Signal.send and a real pipe."""
    app = Celery("handlers", broker="memory://", set_as_current=False)

    @app.task(name="bench.noop")
    def decorated():
        pass

    app.finalize()
    noop = app.tasks["bench.noop"]  # what a worker sends signals with; the decorator's is a proxy

    class Controller:
        hostname, pool_cls, soft_time_limit = "bench@test", "solo", None

    worker = Controller()
    worker.app = app
    message = {
        "task": noop.name,
        "retries": 0,
        "is_eager": False,
        "delivery_info": {"exchange": "", "routing_key": "celery", "redelivered": False},
        "headers": {"pushgate": [time.time(), time.time()]},
    }

    def measured():
        ours, childs = os.pipe()
        if os.fork() == 0:
            signals.worker_process_init.send(sender=None)
            os.write(childs, str(one_round()).encode())
            os._exit(0)
        os.wait()
        os.close(childs)
        with open(ours) as answer:
            return float(answer.read())

    def one_round():
        began = time.process_time()
        for number in range(tasks):
            task_id = str(number)
            noop.push_request(message, id=task_id)
            signals.task_prerun.send(noop, task_id=task_id, task=noop, args=(), kwargs={})
            signals.task_postrun.send(
                *(noop,),
                task_id=task_id,
                task=noop,
                args=(),
                kwargs={},
                retval=None,
                state="SUCCESS",
            )
            noop.pop_request()
        return (time.process_time() - began) / tasks * 1e6

    def nothing(**_):
        pass

    costs = {"two receivers that do nothing": [], "pushgate's": []}
    for _ in range(rounds):
        bare = measured()
        signals.task_prerun.connect(nothing)
        signals.task_postrun.connect(nothing)
        costs["two receivers that do nothing"].append(measured() - bare)
        signals.task_prerun.disconnect(nothing)
        signals.task_postrun.disconnect(nothing)
        installation = pushgate_celery.install(app, gateway, job="handlers", interval=3600)
        signals.worker_init.send(worker)
        costs["pushgate's"].append(measured() - bare)
        installation.uninstall()
    print(f"Microseconds of CPU a task, {rounds} rounds of {tasks} tasks (aim: <= 2.5x nothing)")
    for name, values in costs.items():
        print(f"  {name:34}{statistics.median(values):7.1f} {spread(values, 1)}")


def main():
    parser = argparse.ArgumentParser(description="What measuring costs a Celery worker.")
    parser.add_argument("--quick", action="store_true", help="few rounds: only shows that it runs")
    quick = parser.parse_args().quick
    print(f"Python {sys.version.split()[0]}, Celery {celery.__version__}")
    with servers.pushgateway(debian.find("pushgateway-1.11")) as server:
        throughput(server.url, *((1, 300) if quick else (9, 4000)))
        handlers(server.url, *((3, 500) if quick else (25, 2000)))


if __name__ == "__main__":
    main()
