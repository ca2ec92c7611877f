"""Calls a function of a test in a Python process of its own, which has no thread before it.

For tests that fork: pytest's process has threads, and a fork of one of these may hang. Python 3.15
warns of each. As a program: ``python -m support.fresh_process FILE FUNCTION ARGUMENTS``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60  # seconds; a process that takes longer hangs, and is killed


def in_fresh_process(function: Callable[..., object], *arguments: object) -> str:
    """Call a function at the top level of a test module with arguments that JSON can hold.

    Returns what it wrote to stderr. AssertionError with that where it raised.
    """
    code = function.__code__
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    ended = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "support.fresh_process"),
            *(code.co_filename, code.co_name, json.dumps(arguments)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def fork(work: Callable[[], object]) -> int:
    """Call ``work`` in a forked child, which then ends without any clean-up. Returns its pid."""
    with warnings.catch_warnings():
        # Where the caller has a thread, that is what it tests.
        warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(*children: int) -> None:
    """AssertionError unless all of these ended well."""
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


def main() -> None:
    signal.alarm(PATIENCE)
    file, name, arguments = sys.argv[1:]
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, name)(*json.loads(arguments))


if __name__ == "__main__":
    main()
