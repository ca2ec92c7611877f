"""Fixtures that run a command through the engine, in a process and session of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pushgate_subprocess

DRIVER = Path(__file__).with_name("driver.py")
PACKAGES = str(Path(pushgate_subprocess.__file__).resolve().parents[1])

# A hang is a failure of its own test, not of the whole run.
DEADLINE = 30.0


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
