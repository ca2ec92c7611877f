"""Celery tasks to a Pushgateway: outcomes, totals, queue waits, and the tasks' own metrics.

Call ``install(app)`` where the app is made. Names are looked up on first use, because the pusher
process imports this package, too, and needs no Celery.
"""

from __future__ import annotations

from pushgate import lazy_names

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from pushgate_celery._in_task import CurrentTask as CurrentTask
    from pushgate_celery._in_task import current as current
    from pushgate_celery._install import Installation as Installation
    from pushgate_celery._install import install as install
    from pushgate_celery._per_run import per_run as per_run

_MODULE_OF = {
    "CurrentTask": "_in_task",
    "Installation": "_install",
    "current": "_in_task",
    "install": "_install",
    "per_run": "_per_run",
}
__all__ = tuple(_MODULE_OF)
__getattr__ = lazy_names(__name__, _MODULE_OF, extra="celery")
