"""Wrap any command or piece of Python code, and put its outcome into Prometheus.

`job` is for code in this process, `run` for a command from Python, and `pushgate run` for the
command line. Names are looked up on first use: the wrapper must start its command first.
"""

from __future__ import annotations

from pushgate import lazy_names

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from pushgate_subprocess._job import JobInProgress as JobInProgress
    from pushgate_subprocess._job import job as job
    from pushgate_subprocess._run_command import Result as Result
    from pushgate_subprocess._run_command import run as run

_MODULE_OF = {
    "JobInProgress": "_job",
    "job": "_job",
    "Result": "_run_command",
    "run": "_run_command",
}
__all__ = tuple(_MODULE_OF)
__getattr__ = lazy_names(__name__, _MODULE_OF)
