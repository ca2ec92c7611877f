"""Jobs without end against a gateway that is down half the time: what is lost, and what it costs.

    python tests/benchmarks/outbox_soak.py [--minutes 10] [--rate 50] [--groups 200] [--quick]

Processes report jobs' starts and ends, through one outbox; beside them, real `pushgate run`
commands. The gateway is up for a while, then it refuses, or hangs, or answers 503, or is killed and
comes back empty, in turns. In the end the gateway has to hold what each job's last run reported;
differences make the exit code 1. Latencies are given as ratios to those of a gateway that is up.
"""

import argparse
import contextlib
import ctypes
import itertools
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outbox,
    Outcome,
    Status,
    end_families,
    start_families,
)
from support import debian, outage_proxy, servers

PROCESSES, THREADS = 3, 12
PUSH_TIMEOUT = 0.5  # seconds
CALM, UP, DOWN = WEATHERS = 0, 1, 2  # calm: there was no outage yet
KILLED = "killed"
OUTAGES = (outage_proxy.RESET, outage_proxy.HANG, outage_proxy.BUSY, KILLED)
DRAIN = 120.0  # seconds, in which all has to be delivered at the end
PREFIX = "batch_job_last_"


class Latencies:
    """Counts in buckets that are 5 % apart: as small after a day as after a minute."""

    def __init__(self):
        self.counts = Counter()

    def add(self, seconds):
        self.counts[int(math.log(max(seconds, 1e-6)) / math.log(1.05))] += 1

    def at(self, share):
        due = share * sum(self.counts.values())
        for bucket in sorted(self.counts):
            due -= self.counts[bucket]
            if due <= 0:
                return 1.05**bucket
        return 0.0


def report_jobs(url, path, groups, interval, weather, stop, answers):
    """A process: threads that each run their own jobs, one after the other, until told to stop."""
    gateway = Gateway(url, timeout=PUSH_TIMEOUT, retries=1, outbox=Outbox(path))
    counts, lock, last = Counter(), threading.Lock(), {}
    latencies = [Latencies() for _ in WEATHERS]

    def push(key, families):
        try:
            gateway.pushadd(key, families)
        except Exception as error:
            return error

    def note(began, error, state):
        took = time.monotonic() - began
        result = "delivered" if error is None else "kept" if getattr(error, "kept", 0) else "lost"
        with lock:
            counts[result] += 1
            if state == weather.value:
                latencies[state].add(took)

    def jobs(mine, offset):
        due = time.monotonic() + offset
        for number in itertools.count():
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            due = max(due + interval, time.monotonic() - interval)
            name = mine[number % len(mine)]
            run = JobRun(GroupingKey(name), time.time(), 3600.0)
            state, began = weather.value, time.monotonic()
            note(began, push(run.key, start_families(run)), state)
            status = Status.FAILURE if number % 7 == 0 else Status.SUCCESS
            ended = time.time()
            state, began = weather.value, time.monotonic()
            families = end_families(run, Outcome(status, ended, number / 8))
            note(began, push(run.key, families), state)
            expected = {
                "start_timestamp_seconds": run.started_at,
                "completion_timestamp_seconds": ended,
                "duration_seconds": number / 8,
                "run_success": float(status is Status.SUCCESS),
            }
            with lock:
                counts["jobs"] += 1
                had = last.setdefault(name, {})
                had.update(expected)
                had[f"{status.value}_timestamp_seconds"] = ended

    threads = [
        threading.Thread(target=jobs, args=(groups[k::THREADS], interval * k / THREADS))
        for k in range(THREADS)
        if groups[k::THREADS]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((counts, [latency.counts for latency in latencies], last))


class Commands(threading.Thread):
    """Real `pushgate run` processes, one after the other, each job's own number in its metrics."""

    def __init__(self, url, path, folder, names, interval, stop):
        super().__init__()
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PUSHGATE")},
            "PUSHGATE_GATEWAY": url,
            "PUSHGATE_OUTBOX": path,
            "PUSHGATE_STATE_DIR": str(folder),
        }
        self._names, self._interval, self._stop_event = names, interval, stop
        self.last = {}
        self.count = self.changed = 0

    def run(self):
        for number in itertools.count(1):
            if self._stop_event.wait(self._interval):
                return
            name, code = self._names[number % len(self._names)], number % 100
            script = f'echo "soak_run {number}" >> "$PUSHGATE_METRICS_FILE"; exit {code}'
            options = ["--job", name, "--push-timeout", str(PUSH_TIMEOUT)]
            command = [sys.executable, "-m", "pushgate", "run", *options, "--", "sh", "-c", script]
            done = subprocess.run(
                command,
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            self.count += 1
            self.changed += done.returncode != code
            self.last[name] = number, code, time.time()


class Site:
    """The gateway, the proxy, and the weather."""

    def __init__(self, stack, spell):
        binary = debian.require("pushgateway-1.11")
        self.server = stack.enter_context(servers.pushgateway(binary))
        self.proxy = stack.enter_context(outage_proxy.outage_proxy(self.server.port))
        self.weather = multiprocessing.get_context("spawn").Value(ctypes.c_int, CALM, lock=False)
        self.spell = spell
        self.forgot_at = 0.0
        self.outages = Counter()
        self.down = 0.0

    def change(self, stop):
        for outage in itertools.cycle(OUTAGES):
            if stop.wait(self.spell):
                return
            began = time.monotonic()
            self._begin(outage)
            stopped = stop.wait(self.spell)
            self._end(outage)
            self.outages[outage] += 1
            self.down += time.monotonic() - began
            if stopped:
                return

    def _begin(self, outage):
        self.weather.value = DOWN
        if outage == KILLED:
            self.server.kill()
        else:
            self.proxy.mode = outage

    def _end(self, outage):
        if outage == KILLED:
            while True:
                with contextlib.suppress(servers.ServerError):
                    self.server.restart()
                    break
                time.sleep(0.1)  # somebody connects from its port just now
            self.forgot_at = time.time()
        else:
            self.proxy.mode = outage_proxy.OPEN
        self.weather.value = UP


class Sizes(threading.Thread):
    """The outbox's size and the processes' memory: the most in each tenth of the time."""

    def __init__(self, path, pids, seconds, stop):
        super().__init__()
        self._path, self._pids, self._stop_event = path, pids, stop
        self._began, self._tenth = time.monotonic(), seconds / 10
        self.file, self.memory, self.waiting = Counter(), Counter(), 0

    def _files(self):
        """The outbox's, as far as they stay while one looks."""
        return list(Path(self._path).glob("*"))

    def run(self):
        turns = itertools.count()
        while not self._stop_event.wait(0.25):
            tenth = min(9, int((time.monotonic() - self._began) / self._tenth))
            size = 0
            for path in self._files():
                with contextlib.suppress(FileNotFoundError):
                    size += path.stat().st_size
            self.file[tenth] = max(self.file[tenth], size)
            if next(turns) % 8 == 0:
                self.waiting = max(self.waiting, len(Outbox(self._path).waiting()))
            for pid in self._pids:
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    rss = int(status.split("VmRSS:")[1].split()[0])
                    self.memory[tenth] = max(self.memory[tenth], rss)


def differences(url, last, commands, forgot_at):
    """What the gateway holds and the last runs did not report, or the other way round."""
    found = []
    held = {json.dumps(group.labels): group for group in Gateway(url).groups()}

    def compare(labels, metric, expected):
        group = held.get(json.dumps(labels))
        value = group.value(metric) if group else None
        if value != expected:
            found.append(f"{labels} {metric} is {value}, not {expected}")

    for name, reported in last.items():
        if reported["completion_timestamp_seconds"] <= forgot_at:
            continue
        for metric, expected in reported.items():
            outcome = metric.startswith(("success_", "failure_"))
            if outcome and expected <= forgot_at:
                continue  # the gateway may have had it, and have forgotten it
            compare({"job": name}, PREFIX + metric, expected)
    for name, (number, code, ended) in commands.items():
        if ended <= forgot_at:
            continue
        compare({"job": name}, f"{PREFIX}exit_code", float(code))
        compare({"job": name, "origin": "job"}, "soak_run", float(number))
    return found


def drain(url, path):
    """Seconds until all is delivered. Then until the outbox calls itself empty: a note that a
    process did not finish is waited for."""
    began = time.monotonic()
    outbox = Outbox(path)
    delivered = None
    while not outbox.is_empty():
        done = outbox.flush(Gateway(url, timeout=10), timeout=30)
        if done.left:
            delivered = None
        elif delivered is None:
            delivered = time.monotonic() - began
        if time.monotonic() - began > DRAIN:
            raise SystemExit(f"not drained in {DRAIN:.0f} s: {done}")
        time.sleep(0.05)
    return delivered or 0.0


def soak(options, stack):
    seconds = options.minutes * 60
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pushgate-soak-")))
    path = str(folder / "outbox")
    site = Site(stack, options.spell)
    context = multiprocessing.get_context("spawn")
    stop, answers = context.Event(), context.Queue()
    names = [f"job-{number:03}" for number in range(options.groups)]
    interval = PROCESSES * THREADS / options.rate
    processes = [
        context.Process(
            target=report_jobs,
            args=(site.proxy.url, path, names[k::PROCESSES], interval, site.weather, stop, answers),
        )
        for k in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    commands = Commands(
        site.proxy.url,
        path,
        folder,
        [f"command-{number}" for number in range(10)],
        1 / options.run_rate,
        stop,
    )
    sizes = Sizes(path, [process.pid for process in processes], seconds, stop)
    began = time.monotonic()
    threads = [commands, sizes, threading.Thread(target=site.change, args=(stop,))]
    for thread in threads:
        thread.start()
    try:
        time.sleep(seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    lasted = time.monotonic() - began
    results = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    left = Outbox(path).waiting()
    took = drain(site.proxy.url, path)
    site.proxy.settle()
    return lasted, results, commands, sizes, site, len(left), took


def main():
    parser = argparse.ArgumentParser(
        description="Jobs against a gateway that is down half the time."
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=50, help="jobs a second")
    parser.add_argument("--run-rate", type=float, default=2, help="`pushgate run`s a second")
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--spell", type=float, default=15, help="seconds of each weather")
    parser.add_argument("--quick", action="store_true", help="ten seconds: only shows that it runs")
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.spell, options.groups = 10 / 60, 1.2, 40
    with contextlib.ExitStack() as stack:
        lasted, results, commands, sizes, site, left, took = soak(options, stack)
        counts, last, latencies = Counter(), {}, [Latencies() for _ in WEATHERS]
        for count, of_weathers, of_groups in results:
            counts += count
            for latency, of_one in zip(latencies, of_weathers, strict=True):
                latency.counts += of_one
            last |= of_groups
        wrong = differences(site.server.url, last, commands.last, site.forgot_at)
    print(f"{lasted:.0f} s, down for {site.down:.0f} s: {dict(site.outages)}")
    print(f"jobs                     {counts['jobs']} ({counts['jobs'] / lasted:.1f} a second)")
    print(f"`pushgate run`           {commands.count}, exit codes changed: {commands.changed}")
    print(f"reports delivered        {counts['delivered']}")
    print(f"reports kept             {counts['kept']}")
    print(f"reports lost             {counts['lost']}")
    print(
        f"waiting at most / at end {sizes.waiting} groups / {left} groups, drained in {took:.1f} s"
    )
    print(
        f"outbox, by tenths        {[size // 1024 for _, size in sorted(sizes.file.items())]} KiB"
    )
    print(
        f"memory, by tenths        {[rss // 1024 for _, rss in sorted(sizes.memory.items())]} MiB"
    )
    typical = latencies[CALM].at(0.5) or 1.0
    for name, latency in zip(("before any outage", "up again", "down"), latencies, strict=True):
        figures = "  ".join(f"p{p:g} {latency.at(p / 100) / typical:.1f}x" for p in (50, 99, 100))
        print(f"report, {name:17} {figures}  (of {typical * 1000:.1f} ms)")
    print(f"final differences        {len(wrong)}")
    for line in wrong[:20]:
        print(f"  {line}")
    return 1 if wrong or counts["lost"] or commands.changed else 0


if __name__ == "__main__":
    sys.exit(main())
