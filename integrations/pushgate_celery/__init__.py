"""Celery tasks to a Pushgateway: outcomes, totals, queue waits, and the tasks' own metrics.

Call ``install(app)`` where the app is made. Names are looked up on first use, because the pusher
process imports this package, too, and needs no Celery.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from pushgate_celery._in_task import CurrentTask as CurrentTask
    from pushgate_celery._in_task import current as current
    from pushgate_celery._install import Installation as Installation
    from pushgate_celery._install import install as install
    from pushgate_celery._per_run import per_run as per_run

__all__ = ("CurrentTask", "Installation", "current", "install", "per_run")

_MODULE_OF = {
    "CurrentTask": "_in_task",
    "Installation": "_install",
    "current": "_in_task",
    "install": "_install",
    "per_run": "_per_run",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pushgate_celery' has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"pushgate_celery.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name != "celery":
            raise
        from pushgate import MissingExtraError

        raise MissingExtraError("pushgate_celery needs Celery", extra="celery") from error
    return getattr(module, name)
