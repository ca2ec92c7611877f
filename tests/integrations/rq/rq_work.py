"""What the jobs of the tests do; workers import it."""

import os
import signal
import time
from pathlib import Path

from rq import Retry, get_current_job


def load():
    pass


def charge():
    raise KeyError("card")


def flaky():
    if get_current_job().retries_left:
        raise OSError("again")


def give_up():
    return Retry(max=1)


def too_long():
    time.sleep(60)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def exits():
    os._exit(3)


def closes_the_pipe():
    for file in Path("/proc/self/fd").iterdir():
        if int(file.name) > 2 and os.path.exists(file) and os.readlink(file).startswith("pipe:"):
            os.close(int(file.name))


def tell_and_wait(folder):
    """Say which process this is, and wait until the test lets it go on."""
    folder = Path(folder)
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    while not (folder / "go").exists():
        time.sleep(0.02)
