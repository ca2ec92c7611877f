"""Fixtures that run a command through the engine, in a process and session of its own."""

import json
import os
import queue
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pushgate_subprocess
from support.faults import OK, FaultServer

DRIVER = Path(__file__).with_name("driver.py")
PACKAGES = str(Path(pushgate_subprocess.__file__).resolve().parents[1])

# A hang is a failure of its own test, not of the whole run.
DEADLINE = 30.0


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_login():
    """What nohup and a script's `&` ignore would stay ignored in all that the tests start."""
    ours = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGQUIT: signal.SIG_DFL,
    }
    ignored = [number for number in ours if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, ours[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


class Wrapped:
    """Makes and runs command lines of the driver, all of them ended with the test."""

    def __init__(self, tmp_path, origins="yes"):
        self.tmp_path = tmp_path
        self.origins = origins
        self.report_path = tmp_path / "report.json"
        self.running = []
        self.env = dict(os.environ)
        path = [PACKAGES, *filter(None, [self.env.get("PYTHONPATH")])]
        self.env["PYTHONPATH"] = os.pathsep.join(path)

    def argv(self, *command, **options):
        options = {"origins": self.origins, "report": self.report_path, **options}
        words = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, str(DRIVER), *words, "--", *command]

    def sh(self, script, **options):
        """The command line for a shell script, in one process (no exec of a last command)."""
        return self.argv("/bin/sh", "-c", script, **options)

    def start(self, argv, **popen):
        """Start `argv` without a terminal; stdout and stderr are pipes unless told otherwise."""
        popen = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "env": self.env,
            **popen,
        }
        process = subprocess.Popen(argv, **popen)
        self.running.append(process)
        return process

    def run(self, argv, data=None, **popen):
        """Run `argv` to its end; return its exit code, stdout and stderr."""
        if data is not None:
            popen["stdin"] = subprocess.PIPE
        process = self.start(argv, **popen)
        out, err = process.communicate(data, timeout=DEADLINE)
        return process.returncode, out, err

    def report(self):
        return json.loads(self.report_path.read_text())

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def wrapped(tmp_path):
    """The driver, listening for signals in the way of this platform."""
    made = Wrapped(tmp_path, origins="no" if sys.platform == "darwin" else "yes")
    yield made
    made.close()


WAYS = ["no"] if sys.platform == "darwin" else ["yes", "no"]


@pytest.fixture(params=WAYS, ids=["sigwaitinfo" if way == "yes" else "handlers" for way in WAYS])
def each_way(request, tmp_path):
    """The driver, once for each way of listening for signals."""
    made = Wrapped(tmp_path, origins=request.param)
    yield made
    made.close()


@pytest.fixture
def isolated(tmp_path, monkeypatch):
    """No settings of this machine's; what a run leaves behind goes into `tmp_path`."""
    for name in [name for name in os.environ if "PUSHGATE" in name]:
        monkeypatch.delenv(name)
    for name, directory in {
        "HOME": "home",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "xdg-state",
        "PUSHGATE_STATE_DIR": "state",
        "TMPDIR": "tmp",
    }.items():
        (tmp_path / directory).mkdir()
        monkeypatch.setenv(name, str(tmp_path / directory))
    return tmp_path


class Pushgate(Wrapped):
    """`pushgate run` and other commands, as processes of their own."""

    def argv(self, *words, job="backup", gateway=None, command="run"):
        to = [] if gateway is None else ["--gateway", gateway]
        return [sys.executable, "-m", "pushgate", command, "--job", job, *to, *words]


@pytest.fixture
def pushgate(isolated, tmp_path):
    made = Pushgate(tmp_path)
    yield made
    made.close()


class Recorder(FaultServer):
    """A gateway that accepts everything; `next()` waits for the request that comes next."""

    def __init__(self):
        self._came = queue.Queue()
        self.hold = None  # an Event: the next request is answered once it is set
        super().__init__(self._answer)

    def _answer(self, peer):
        while seen := peer.request():
            hold, self.hold = self.hold, None
            self._came.put(seen)
            if hold is not None:
                hold.wait(DEADLINE)
            peer.send(OK)

    def next(self):
        return self._came.get(timeout=DEADLINE)


@pytest.fixture
def recorder():
    with Recorder() as server:
        yield server
