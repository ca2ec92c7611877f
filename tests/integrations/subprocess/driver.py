"""Runs a command by the engine as `pushgate run` does, without metrics: a script for the tests.

    python driver.py [--name=value …] -- CMD …

The options are those of `spawn` and `wait`, and some that play the caller's part: `--report=FILE`
gets the `Ended` as JSON once the child has ended; `--push=SECONDS` lingers as a push would.
"""

import contextlib
import os
import sys

from pushgate_subprocess import _lock
from pushgate_subprocess._exec import NotStartedError
from pushgate_subprocess._process import spawn
from pushgate_subprocess._signals import Signals

TYPES = {
    "timeout": float,
    "kill_after": float,
    "timeout_signal": int,
    "preserve_status": "yes".__eq__,
}


def say(text):
    with contextlib.suppress(OSError):  # closed, or a terminal that hung up
        os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")


def sinks_of(options):
    kind = options.pop("capture", None)
    memory, copy = int(options.pop("memory", "1048576")), options.pop("copy", None)
    if kind is None:
        return {}
    from pushgate_subprocess._capture import Spool, Tail

    if kind == "spool":
        return {"stdout": Spool(memory=memory), "stderr": Spool(memory=memory)}
    descriptors = {"stdout": 1, "stderr": 2}
    return {name: Tail(int(kind), copy_to=fd if copy else None) for name, fd in descriptors.items()}


def report(path, ended, sinks):
    import json

    facts = {**ended._asdict(), "resources": ended.resources._asdict()}
    for name, sink in sinks.items():
        facts[name] = {"total": sink.total, "lost": getattr(sink, "lost", None)}
        if hasattr(sink, "content"):
            facts[name]["content"] = sink.content().decode()
    with open(path + ".part", "w") as file:
        json.dump(facts, file)
    os.rename(path + ".part", path)


def main() -> int:
    split = sys.argv.index("--")
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:split])
    report_path, push = options.pop("report", None), options.pop("push", None)
    die, lock = options.pop("die", None), None
    signals = Signals(origins=options.pop("origins", "yes") == "yes")
    if path := options.pop("lock", None):
        lock = _lock.acquire(path, wait_seconds=float(options.pop("lock_wait", "0")))
        if lock is None:
            say(f"locked by {_lock.holders(path)}")
            return 75
    sinks = sinks_of(options)
    limit = {name: TYPES[name](options.pop(name)) for name in TYPES if name in options}
    if options:
        raise SystemExit(f"unknown: {options}")

    try:
        child = spawn(
            sys.argv[split + 1 :],
            pass_fds=[] if lock is None else [lock],
            signals=signals,
            **sinks,
        )
    except NotStartedError as error:
        say(f"driver: {error}")
        return error.exit_status
    ended = child.wait(**limit)

    if lock is not None:
        _lock.release(lock, inherited=not ended.timed_out)
    if push is not None:
        done, _never_written = os.pipe()
        say("pushing")
        signals.linger(done, seconds=float(push), hurried_seconds=0.0)
        say(f"pushed hurried={signals.hurried}")
    if report_path is not None:
        report(report_path, ended, sinks)
    if ended.exit_status != 0 and hasattr(sinks.get("stdout"), "close"):
        sinks["stdout"].replay(1)
        sinks["stderr"].replay(2)
        for spool in sinks.values():
            spool.close()
    if die and ended.signal is not None:
        signals.die_like(ended.signal)
    return ended.exit_status


if __name__ == "__main__":
    sys.exit(main())
