"""Wrap any command or piece of Python code, and put its outcome into Prometheus.

`job` is for code in this process, `run` for a command from Python, and `pushgate run` for the
command line. Names are looked up on first use: the wrapper must start its command first.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from pushgate_subprocess._job import JobInProgress as JobInProgress
    from pushgate_subprocess._job import job as job
    from pushgate_subprocess._run_command import Result as Result
    from pushgate_subprocess._run_command import run as run

__all__ = ("JobInProgress", "Result", "job", "run")

_MODULE_OF = {
    "JobInProgress": "_job",
    "job": "_job",
    "Result": "_run_command",
    "run": "_run_command",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pushgate_subprocess' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"pushgate_subprocess.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("fcntl", "resource", "termios"):
            raise
        from pushgate import PushError

        raise PushError(
            f"pushgate_subprocess.{name} needs Linux, macOS or another POSIX system"
        ) from None
