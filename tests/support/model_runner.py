"""Runs sequences of support.outbox_steps on a real gateway, and holds it against the model.

In: the version of a gateway and seeds. Out: for each, what happened, or a DivergenceError whose
text has the seed and every step. From tests/, by hand:

    python -m support.model_runner 1.11 --first 0 --count 100
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from support import debian, outage_proxy, outbox_families, outbox_model
from support.outbox_model import START, Change, Families, States
from support.outbox_steps import (
    GROUPS,
    WORKERS,
    End,
    Flush,
    Kill,
    Mode,
    Pair,
    Pause,
    Plan,
    Push,
    Start,
    Step,
    plan,
)
from support.servers import Pushgateway, ServerError
from support.worker_pool import Worker

TIMEOUT = 0.2  # seconds, of each push
PATIENCE = 50.0  # seconds; what takes longer hangs
LOOKS = 1.0  # seconds, until what the gateway shows must fit


class DivergenceError(AssertionError):
    pass


class Site:
    """A gateway, a proxy, workers: they stay from one sequence to the next."""

    def __init__(self, version: str, *, persists: bool, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._direct = False
        flags = ["--web.enable-admin-api"]
        self._saved = folder / "persistence" if persists else None
        if self._saved:
            flags += [f"--persistence.file={self._saved}", "--persistence.interval=24h"]
        self._server = Pushgateway(debian.require(f"pushgateway-{version}"), *flags)
        self.proxy = outage_proxy.OutageProxy(self._server.port)
        self.workers: list[Worker] = []
        self.up = True
        self.paused = False

    def close(self) -> None:
        if self.paused:
            os.kill(self._server.pid, signal.SIGCONT)
        self._server.kill()
        self.proxy.close()
        for worker in self.workers:
            worker.kill()

    def prepare(self, direct: bool, chance: int) -> None:
        """As new, but for what runs already."""
        self.start()
        self.proxy.mode = outage_proxy.OPEN
        self.proxy.forget()
        self.proxy.chance.seed(chance)
        self._exchange("PUT", "/api/v1/admin/wipe")
        until(lambda: not self.groups(), "groups stay after a wipe")
        if self._saved:
            self._saved.unlink(missing_ok=True)
        self._number += 1
        self._direct = direct
        self._url = self._server.url if direct else self.proxy.url
        self._path = self._folder / f"{self._number}" / "outbox"
        while len(self.workers) < WORKERS:
            self.workers.append(Worker())
        for worker in self.workers:
            self._open(worker)

    def replace(self, number: int) -> None:
        self.workers[number].kill()
        self.workers[number] = Worker()
        self._open(self.workers[number])

    def _open(self, worker: Worker) -> None:
        worker.ask(
            {"do": "open", "url": self._url, "path": str(self._path), "timeout": TIMEOUT},
        )

    def kill(self) -> None:
        if self.up:
            self._server.kill()
            self.up, self.paused = False, False

    def end(self) -> None:
        if self.up:
            os.kill(self._server.pid, signal.SIGTERM)
            process = self._server._process
            assert process is not None
            process.wait(PATIENCE)
            self._server.kill()
            self.up = False

    def start(self) -> None:
        if self.paused:
            os.kill(self._server.pid, signal.SIGCONT)
            self.paused = False
        elif not self.up:
            self.proxy.settle()  # what came while it was down must not reach it now
            deadline = time.monotonic() + PATIENCE
            while not self.up:
                try:
                    self._server.restart()
                    self.up = True
                except ServerError:  # somebody connects from its port just now
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)

    def pause(self) -> None:
        if self.up and not self.paused:
            os.kill(self._server.pid, signal.SIGSTOP)
            self.paused = True

    def settle(self) -> None:
        """Wait until the gateway has performed all that was sent to it."""
        self.proxy.settle()
        if self._direct:
            until(lambda: not _abandoned(self._server.port), "requests stay unread")
        # Changes are queued, in order: https://github.com/prometheus/pushgateway/blob/master/storage/diskmetricstore.go
        self._exchange("PUT", "/metrics/job/barrier", b"barrier 1\n")

    def groups(self) -> dict[str, Families]:
        """What the gateway holds, by job."""
        found = {}
        for entry in json.loads(self._exchange("GET", "/api/v1/metrics"))["data"]:
            labels = entry.pop("labels")
            if labels == {"job": "barrier"}:
                continue
            job = labels["job"]
            assert labels == {"job": job}
            families = {
                name: shown
                for name, shown in entry.items()
                if isinstance(shown, dict) and name not in _STAMPS
            }
            found[job] = frozenset(
                (name, outbox_families.number_of(name, shown)) for name, shown in families.items()
            )
        return found

    def _exchange(self, method: str, target: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, target, body)
            response = connection.getresponse()
            said = response.read()
            assert response.status < 300, said
            return said


_STAMPS = {"push_time_seconds", "push_failure_time_seconds"}


class Sequence:
    """One run of a plan."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self._site = site
        self._plan = plan
        self._states: dict[str, States] = dict.fromkeys(GROUPS, START)
        self.trace: list[str] = []
        self.count: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        self._site.prepare(self._plan.direct, self._plan.seed)
        for step in self._plan.steps:
            self.trace.append(f"{step}")
            self._perform(step)
            if self._site.up and not self._site.paused:
                self._look()
        self.trace.append("the end")
        self._turn(outage_proxy.OPEN)
        self._look()
        self._drain()
        self._look()

    def _perform(self, step: Step) -> None:
        site = self._site
        match step:
            case Push(_, _, _, None):
                site.workers[step.worker].tell(_order(step))
                self._told(step, self._hear(step.worker), alone=True)
            case Push():
                self._push_and_die(step)
            case Flush():
                site.workers[step.worker].tell(_order(step))
                self._told(step, self._hear(step.worker), alone=True)
            case Pair(first, second):
                self._pair(first, second)
            case Mode(mode):
                self._turn(mode)
            case Kill() if site.up:
                self._release()
                site.kill()
                self._each(outbox_model.forgotten)
            case End() if site.up and not site.paused:
                self._release()
                site.end()
                if self._plan.persists:
                    self._each(outbox_model.saved)
                self._each(outbox_model.forgotten)
            case Pause() if site.up:
                self._release()
                site.pause()
            case Start():
                self._start()
            case _:
                pass  # it is so already

    def _turn(self, mode: str) -> None:
        self._release()
        if mode == outage_proxy.OPEN:
            self._start()
        self._site.proxy.mode = mode

    def _release(self) -> None:
        """What the proxy has put aside is performed."""
        if self._site.proxy.mode == outage_proxy.ASIDE:
            self._site.proxy.mode = outage_proxy.OPEN
            self._start()

    def _start(self) -> None:
        """The gateway runs, and nothing is under way."""
        site = self._site
        site.start()
        if site.proxy.mode != outage_proxy.ASIDE:
            site.proxy.release()
            site.settle()
            self._each(outbox_model.settled)

    def _push_and_die(self, step: Push) -> None:
        assert step.death is not None
        proxy = self._site.proxy
        while proxy.seen.acquire(blocking=False):
            pass
        self._site.workers[step.worker].tell(_order(step))
        if step.death == 0.0:
            proxy.seen.acquire(timeout=TIMEOUT)
        else:
            time.sleep(step.death / 1000)
        self._site.replace(step.worker)
        self.count["killed"] += 1
        late = not self._up and self._late
        states = outbox_model.cut_off(self._states[step.group], step.change)
        if late:
            states |= outbox_model.kept(self._states[step.group], step.change, late=True, ran=False)
        self._states[step.group] = states
        self._tried()

    def _pair(self, first: Push, second: Push | Flush) -> None:
        self._site.workers[first.worker].tell(_order(first))
        self._site.workers[second.worker].tell(_order(second))
        answers = [self._hear(first.worker), self._hear(second.worker)]
        before, count = self._states, self.count.copy()
        found: dict[str, States] = {group: frozenset() for group in GROUPS}
        for order in ((0, 1), (1, 0)):
            self._states, self.count = dict(before), count.copy()
            for place in order:
                self._told((first, second)[place], answers[place], alone=False)
                self._tried()  # one may have delivered what the other one left
            found = {group: found[group] | states for group, states in self._states.items()}
        if isinstance(second, Push) and first.group == second.group:
            # The gateway and the outbox may disagree about which came first.
            states = found[first.group]
            waiting = {state.waits for state in states}
            found[first.group] = frozenset(
                state._replace(waits=waits) for state in states for waits in waiting
            )
        self._states = found

    def _hear(self, worker: int) -> dict[str, Any]:
        answer = self._site.workers[worker].hear()
        if answer is None:
            raise self._divergence("a worker died by itself")
        self.trace.append(f"    {answer}")
        return answer

    def _told(self, step: Push | Flush, answer: dict[str, Any], *, alone: bool) -> None:
        self.count[f"{answer['told']}{'' if self._up else ' in an outage'}"] += 1
        if isinstance(step, Push):
            states = self._states[step.group]
            if step.change.is_heartbeat:  # it lets what waits go first
                states = self._perhaps_tried(states)
            if answer["told"] == "arrived":
                states = outbox_model.arrived(states, step.change)
            elif answer["told"] == "kept" or step.change.is_heartbeat:
                states = outbox_model.kept(states, step.change, late=self._late, ran=self._ran)
            else:
                raise self._divergence(f"lost: {answer['error']}")
            self._states[step.group] = states
        if answer["told"] != "kept":
            self._tried()
        if alone and answer["empty"]:
            self._each(outbox_model.nothing_waits)

    def _tried(self) -> None:
        """Somebody may have flushed."""
        self._states = {g: self._perhaps_tried(states) for g, states in self._states.items()}

    def _perhaps_tried(self, states: States) -> States:
        found = outbox_model.perhaps_flushed(states)
        for state in states:
            if state.waits is not None:
                one = frozenset([state])
                found |= outbox_model.kept(one, state.waits, late=self._late, ran=self._ran)
        return found

    @property
    def _up(self) -> bool:
        site = self._site
        return site.up and not site.paused and site.proxy.mode == outage_proxy.OPEN

    @property
    def _late(self) -> bool:
        """Whether a request that failed may be performed later."""
        site = self._site
        forwards = self._plan.direct or site.proxy.mode in outage_proxy.FORWARDING
        return (not self._plan.direct and site.proxy.mode == outage_proxy.ASIDE) or (
            forwards and site.paused
        )

    @property
    def _ran(self) -> bool:
        """Whether a request that failed may have been performed."""
        site = self._site
        forwards = self._plan.direct or site.proxy.mode in outage_proxy.FORWARDING
        return forwards and site.up and not site.paused

    def _each(self, change: Callable[[States], States]) -> None:
        before = self._states
        self._states = {group: change(states) for group, states in before.items()}
        for group, states in self._states.items():
            if not states:
                raise self._divergence(f"{group} can't be as the outbox says", before)

    def _look(self) -> None:
        """Narrow the states by what the gateway shows."""
        self._site.settle()
        before = self._states
        deadline = time.monotonic() + LOOKS
        while True:
            held = self._site.groups()
            after = {g: outbox_model.seen(s, held.get(g)) for g, s in before.items()}
            if all(after.values()):
                self._states = after
                return
            if time.monotonic() > deadline:
                wrong = [g for g, s in after.items() if not s]
                shown = "; ".join(f"{g} {outbox_model._show(held.get(g))}" for g in wrong)
                raise self._divergence(f"the gateway holds {shown}", before)
            time.sleep(0.01)

    def _drain(self) -> None:
        """Flush until nothing is left: a killed worker's claim first has to end."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for number in range(WORKERS):
                answer = self._site.workers[number].ask({"do": "flush", "timeout": 0.5})
                self.trace.append(f"    {answer}")
                self._tried()
                if not answer["left"]:
                    break
            if not answer["left"]:
                break
            if time.monotonic() > deadline:
                raise self._divergence(f"what waits is not delivered: {answer}")
            time.sleep(0.05)
        self._each(outbox_model.nothing_waits)
        for worker in self._site.workers:
            looked = worker.ask({"do": "look"})
            if not looked["empty"] or looked["waiting"]:
                raise self._divergence(f"the outbox is not empty: {looked}")

    def _divergence(self, what: str, states: dict[str, States] | None = None) -> DivergenceError:
        lines = [f"seed {self._plan.seed}: {what}", f"  {self._plan[1:3]}", *self.trace]
        for group, possible in (states or self._states).items():
            lines += [f"  {group} may be {state}" for state in sorted(possible, key=repr)[:12]]
        return DivergenceError("\n  ".join(lines))


def _order(step: Push | Flush) -> dict[str, Any]:
    if isinstance(step, Flush):
        return {"do": "flush", "timeout": 0.3}
    change: Change = step.change
    return {
        "do": "change",
        "method": change.method,
        "job": step.group,
        "families": sorted(change.families),
    }


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def _abandoned(port: int) -> bool:
    """Whether the server has connections that the client has closed and it has not."""
    want = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            _, local, _, state, *_ = line.split()
            if state == "08" and local.endswith(want):  # CLOSE_WAIT
                return True
    return False


def results(version: str, seeds: Iterable[int]) -> Iterator[tuple[int, dict[str, int] | str]]:
    """Of each seed what was told how often, or the text of its divergence."""
    sites: dict[bool, Site] = {}
    with tempfile.TemporaryDirectory(prefix="pushgate-runner-") as folder:
        try:
            for seed in seeds:
                steps = plan(seed)
                if steps.persists not in sites:
                    place = Path(tempfile.mkdtemp(dir=folder))
                    sites[steps.persists] = Site(version, persists=steps.persists, folder=place)
                sequence = Sequence(sites[steps.persists], steps)
                try:
                    sequence.run()
                    yield seed, dict(sequence.count)
                except AssertionError as error:
                    sites.pop(steps.persists).close()
                    yield seed, str(error) or repr(error)
        finally:
            for site in sites.values():
                site.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run sequences; print a line of JSON for each.")
    parser.add_argument("version")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.step * options.count, options.step)
    for seed, result in results(options.version, seeds):
        print(json.dumps([seed, result]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
