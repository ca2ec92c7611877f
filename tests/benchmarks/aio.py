"""AsyncGateway beside Gateway and aioprometheus: CPU, latency, and how long a loop is blocked.

    python tests/benchmarks/aio.py [--quick]

All in one process, in turns, so a machine that slows down slows them all; each figure is the median
over the rounds, with the span between the quartiles as the noise. Nothing is asserted.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from pushgate import AsyncGateway, Gateway

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import debian, faults, servers

HUNG = 50


def small_registry():
    registry = CollectorRegistry()
    for number in range(5):
        Gauge(f"rows_{number}", "help", registry=registry).set(number)
    return registry


def aioprometheus_push(url):
    """A push of five gauges by its pusher, or None where it is not installed."""
    try:
        from aioprometheus import Gauge as TheirGauge
        from aioprometheus import Registry
        from aioprometheus.pusher import Pusher
    except ImportError:
        print("aioprometheus is not installed: left out")
        return None
    registry = Registry()
    for number in range(5):
        gauge = TheirGauge(f"rows_{number}", "help", registry=registry)
        gauge.set({}, number)
    pusher = Pusher("aioprometheus", url)
    return lambda: pusher.replace(registry)


async def one_by_one(push, calls):
    for _ in range(calls):
        await push()


async def at_once(push, calls):
    await asyncio.gather(*(push() for _ in range(calls)))


def timed(work):
    """The seconds of wall and CPU time that it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(title, ways, rounds, calls):
    """Print the medians of each way for one call, and their ratios to the first."""
    figures = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            measured = [seconds / calls * 1e6 for seconds in timed(work)]
            if turn:  # the first opens connections, and imports
                figures[name].append(measured)
    print(f"\n{title}\n{'':32}{'wall':>10}{'ratio':>8}{'CPU':>10}{'ratio':>8}{'noise':>8}")
    first = None
    for name, measured in figures.items():
        wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
        low, _, high = statistics.quantiles([cpu for _, cpu in measured], n=4)
        first = first or (wall, cpu)
        ratios = f"{wall:7.0f} µs{wall / first[0]:7.2f}x{cpu:7.0f} µs{cpu / first[1]:7.2f}x"
        print(f"  {name:30}{ratios}   ±{(high - low) / 2 / cpu:4.0%}", flush=True)


async def longest_block(load):
    """The longest time between two rounds of the loop while ``load()`` ran, in seconds.

    That is of wall clock, in which the machine may do something else, and of the thread's CPU.
    """
    walls, cpus, over = [], [], False

    async def watch():
        while not over:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.thread_time() - cpu)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    await load()
    over = True
    await watcher
    return max(walls), max(cpus)


def blocked(rounds):
    registry = small_registry()

    async def idle():
        await asyncio.sleep(1)

    with faults.FaultServer(faults.hang) as server:
        gateways = [AsyncGateway(server.url, timeout=1, retries=0) for _ in range(HUNG)]

        async def hung():
            pushes = (gateway.push("a", registry) for gateway in gateways)
            await asyncio.gather(*pushes, return_exceptions=True)

        print(f"\nThe loop is blocked at most, medians of {rounds}\n{'':32}{'wall':>10}{'CPU':>10}")
        for name, load in {"idle": idle, f"while {HUNG} gateways hang": hung}.items():
            found = [asyncio.run(longest_block(load)) for _ in range(rounds)]
            wall, cpu = (statistics.median(column) * 1000 for column in zip(*found, strict=True))
            print(f"  {name:30}{wall:7.1f} ms{cpu:7.1f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description="AsyncGateway beside others.")
    parser.add_argument("--quick", action="store_true", help="few rounds: only shows that it runs")
    options = parser.parse_args()
    rounds, calls = (3, 20) if options.quick else (15, 200)
    print(f"Python {sys.version.split()[0]}, medians of {rounds} rounds of {calls} pushes")
    with servers.pushgateway(debian.find("pushgateway-1.11")) as server, asyncio.Runner() as runner:
        registry = small_registry()
        blocking, gateway = Gateway(server.url), AsyncGateway(server.url)
        theirs = aioprometheus_push(server.url)

        def push():
            return gateway.push("async", registry)

        def blocking_pushes():
            for _ in range(calls):
                blocking.push("blocking", registry)

        ways = {"Gateway": blocking_pushes}
        ways["AsyncGateway"] = lambda: runner.run(one_by_one(push, calls))
        if theirs:
            ways["aioprometheus"] = lambda: runner.run(one_by_one(theirs, calls))
        compare("A push of 5 samples, one after the other", ways, rounds, calls)
        ways["AsyncGateway"] = lambda: runner.run(at_once(push, calls))
        if theirs:
            ways["aioprometheus"] = lambda: runner.run(at_once(theirs, calls))
        ways["Gateway, one after the other"] = ways.pop("Gateway")
        compare(f"{calls} pushes at once", ways, rounds, calls)
    blocked(3 if options.quick else 9)


if __name__ == "__main__":
    main()
