"""Fixtures that run a test against the embedded gateway and against real ones."""

from __future__ import annotations

import fcntl
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from pushgate import Outbox
from pushgate.embedded import EmbeddedGateway
from pushgate.transport import pool as transport
from support.frameworks import is_missing
from support.gateways import KINDS, GatewayUnderTest, open_gateway
from support.servers import reserved_port

AIRFLOW = "tests/integrations/airflow/"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Two for each core, as tests mostly wait; none for tests named on the command line."""
    whole_suite = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    return 2 * (os.cpu_count() or 1) if whole_suite else 0


class FolderScheduling(LoadFileScheduling):
    """A file's tests share a worker; all of Airflow's do, whose database and import take long."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return AIRFLOW if file.startswith(AIRFLOW) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    return FolderScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """One worker compiles what it imports; the others, who would compile the same, wait for it."""
    if not hasattr(session.config, "workerinput"):
        return (yield)
    with open(__file__) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
        return (yield)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out Airflow, whose tests are all end-to-end, and frameworks that are not installed."""
    fast = config.option.markexpr == "not end_to_end"
    name = collection_path.name
    if (name == "airflow" and fast) or is_missing(name):
        return True
    return None


@pytest.fixture(autouse=True)
def _no_proxies_and_no_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with neither, whatever the environment and the tests before it."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    transport.close_idle()
    yield
    transport.close_idle()


@pytest.fixture(scope="session")
def _state_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "state"


@pytest.fixture(autouse=True)
def _no_state_of_the_users(
    monkeypatch: pytest.MonkeyPatch, _state_directory: Path, request: pytest.FixtureRequest
) -> None:
    """Each test has settings and a state directory of its own, which nothing creates before use."""
    for name in [n for n in os.environ if n.startswith(("PUSHGATE", "PROMETHEUS_PUSHGATE"))]:
        monkeypatch.delenv(name)
    folder = _state_directory / f"{hash(request.node.nodeid) & 0xFFFFFFFFFFFF:x}"
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "no-config"))


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs a command in this process; returns its exit code, stdout and the lines of stderr."""
    from pushgate.cli import main

    def run(*arguments: str, stdin: str | bytes = "") -> tuple[int, str, list[str]]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@pytest.fixture
def server() -> Iterator[EmbeddedGateway]:
    """A gateway that can be stopped, and started again with what it held, on a port of its own."""
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port()) if sys.platform == "linux" else 0
        yield stack.enter_context(EmbeddedGateway(port=port))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.fixture(scope="session")
def shared_gateway() -> Iterator[Callable[[str], GatewayUnderTest]]:
    """The session's one gateway of a kind, started when first asked for."""
    opened: dict[str, GatewayUnderTest] = {}
    with ExitStack() as stack:

        def of_kind(kind: str) -> GatewayUnderTest:
            if kind not in opened:
                opened[kind] = stack.enter_context(open_gateway(kind))
            return opened[kind]

        yield of_kind


@pytest.fixture(params=KINDS)
def gateway(
    request: pytest.FixtureRequest, shared_gateway: Callable[[str], GatewayUnderTest]
) -> GatewayUnderTest:
    """A gateway without groups, shared by the session's tests one after the other."""
    server = shared_gateway(request.param)
    server.wipe()
    return server


@pytest.fixture
def gateway_url(gateway: GatewayUnderTest) -> str:
    return gateway.url


@pytest.fixture(params=KINDS)
def fresh_gateway(request: pytest.FixtureRequest) -> Iterator[GatewayUnderTest]:
    """A gateway of the test's own, for tests that leave it broken."""
    with open_gateway(request.param) as server:
        yield server


# Hypothesis builds its table of Unicode on first use, which a new machine is slow at.
hypothesis.settings.register_profile(
    "pushgate",
    deadline=None,
    max_examples=100 if os.environ.get("CI") else 30,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("pushgate")
