"""What every adapter promises, whatever happens to the gateway or to its own process.

The job's result is unchanged. The job is delayed by its deadline at most. The outcome arrives later
or one line says that it is lost. docs/adapters.md states the contract.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from contract.adapters import ADAPTERS, Ended, Job, ended, fork_servers, run
from pushgate import Gateway
from pushgate.cli import main
from pushgate.embedded import EmbeddedGateway
from support.fault_proxy import fault_proxy
from support.faults import Script, answer, hang, respond_and_close, respond_and_drip

CLOSE = (("Connection", "close"),)
PAGE = b"<!DOCTYPE html><title>Sign in</title><p>Sign in to the guest network."


def status(line):
    return respond_and_close(answer(line, b"no", CLOSE))


class Fault(NamedTuple):
    """What the gateway does until it heals; ``script`` is None where connections are refused.

    ``refuses`` is in the line that says that the outcome is lost, where no later try succeeds;
    otherwise the outcome is kept. ``fails`` is whether the job itself fails.
    """

    script: Script | None
    refuses: str = ""
    fails: bool = False
    push_timeout: float = 15.0


FAULTS = {
    "is down": Fault(None),
    "hangs": Fault(hang, push_timeout=1),
    "drips": Fault(
        respond_and_drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), fails=True, push_timeout=1
    ),
    "sends a web page": Fault(
        respond_and_close(answer("200 OK", PAGE, (("Content-Type", "text/html"), *CLOSE)))
    ),
    "answers 400": Fault(status("400 Bad Request"), "400"),
    "answers 401": Fault(status("401 Unauthorized"), fails=True),
    "answers 413": Fault(status("413 Content Too Large"), "413"),
    "answers 415": Fault(status("415 Unsupported Media Type"), "415", fails=True),
    "answers 422": Fault(status("422 Unprocessable Content"), "422"),
    "answers 429": Fault(status("429 Too Many Requests")),
    "answers 503": Fault(status("503 Service Unavailable"), fails=True),
}


class Site:
    """A gateway, a proxy with a fault before it, and what a job left in ``folder``."""

    def __init__(self, adapter, proxy, folder, held):
        self.adapter = adapter
        self.proxy = proxy
        self.folder = folder
        self._held = held

    def job(self, **options):
        return Job(self.proxy.url, self.folder, **options)

    def heal(self, *, was_down=False):
        if was_down:
            self.proxy.listen()
        self.proxy.heal()

    def run_success(self):
        """What the gateway holds as the last run's outcome: 1, 0, or None."""
        found = [g for g in self._held.groups() if g.labels == self.adapter.labels]
        return found[0].value("batch_job_last_run_success") if found else None

    def ends(self):
        """How many pushes told the gateway of an end."""
        metric = "batch_job_last_completion_timestamp_seconds"
        return len(self.proxy.pushes_of(metric, **self.adapter.labels))


@contextmanager
def site(adapter, folder, fault, *, down=False, count=1000000000.0):
    folder.mkdir()
    with (
        EmbeddedGateway() as gateway,
        fault_proxy(int(gateway.url.rpartition(":")[2]), fault, count=count, down=down) as proxy,
    ):
        yield Site(adapter, proxy, folder, Gateway(gateway.url))


Outage = tuple[Site, Ended, ExitStack]


@pytest.fixture(scope="session")
def outages(request, tmp_path_factory):
    """The runs of the session's tests of outages: most of them wait, so they run beside others."""
    root = tmp_path_factory.mktemp("contract")
    pairs = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and "outages" in item.fixturenames
    ]

    def outage(adapter, name):
        fault = FAULTS[name]
        stack = ExitStack()
        place = stack.enter_context(
            site(adapter, root / f"{adapter.name} {name}", fault.script, down=not fault.script)
        )
        job = place.job(
            push_timeout=fault.push_timeout, outage=not fault.refuses, fails=fault.fails
        )
        return place, run(adapter, job), stack

    with ThreadPoolExecutor(8) as pool:
        yield {
            (p["adapter"].name, p["name"]): pool.submit(outage, p["adapter"], p["name"])
            for p in pairs
        }


@pytest.fixture(scope="session", autouse=True)
def _fork_servers_end():
    yield
    fork_servers.close()


each_adapter = pytest.mark.parametrize(
    "adapter",
    [
        pytest.param(
            adapter,
            id=adapter.name,
            # Airflow's own code runs the tasks; RQ has no queue but a redis.
            marks=[pytest.mark.end_to_end] if adapter.name.startswith(("airflow", "rq")) else [],
        )
        for adapter in ADAPTERS
    ],
)


def deliver_later(place, monkeypatch):
    """`pushgate flush` on the job's host, or what the framework does; whether nothing is left."""
    if not place.adapter.uses_outbox:
        return run(place.adapter, place.job(only_later=True)).lines == []
    for name, value in place.job().environment.items():
        monkeypatch.setenv(name, value)
    return main(["flush", "--gateway", place.proxy.url]) == 0


@each_adapter
@pytest.mark.parametrize("name", FAULTS)
def test_a_gateway_that(adapter, name, outages, monkeypatch):
    fault = FAULTS[name]
    place, job, stack = outages[adapter.name, name].result()
    with stack:
        assert job.output == ["ran", "failure" if fault.fails else "success"], job.errors
        assert "Traceback" not in job.errors
        assert job.lines, "nothing is said"
        assert len(job.lines) == len(set(job.lines))

        place.heal(was_down=fault.script is None)
        assert deliver_later(place, monkeypatch)
        arrived = place.run_success() == (not fault.fails)
        # On a busy machine, what is refused may be kept before the answer comes.
        assert arrived or (fault.refuses and fault.refuses in job.errors), job.lines


@each_adapter
@pytest.mark.parametrize(
    ("what", "output"),
    [({}, ["success"]), ({"fails": True}, ["failure"]), ({"forks": True}, ["forked", "success"])],
    ids=["ends", "fails", "forks"],
)
def test_a_job_is_told_once_and_nothing_is_said(adapter, what, output, tmp_path):
    with site(adapter, tmp_path / "job", None) as place:
        job = run(adapter, place.job(**what))
        assert (job.output, job.errors) == (["ran", *output], "")
        assert place.run_success() == ("success" in output)
        assert place.ends() == 1


@each_adapter
def test_a_gateway_that_is_back_in_time_gets_the_outcome_from_the_job_itself(adapter, tmp_path):
    with site(adapter, tmp_path / "job", status("503 Service Unavailable"), count=1) as place:
        job = run(adapter, place.job())
        assert job.output == ["ran", "success"], job.errors
        assert place.run_success() == 1


@each_adapter
def test_after_a_kill_in_a_push_the_next_run_is_as_any(adapter, tmp_path, monkeypatch):
    with site(adapter, tmp_path / "job", hang) as place:
        process = adapter.start(place.job(outage=True))
        place.proxy.wait_for_fault()
        process.kill()
        ended(process, place.job())
        place.heal()

        job = run(adapter, place.job())
        assert job.output == ["ran", "success"], job.errors
        assert "Traceback" not in job.errors
        assert place.run_success() == 1
        assert deliver_later(place, monkeypatch)
        assert place.run_success() == 1
