"""Everything that the queue's thread would import, before there is a thread.

Enters: nothing. Leaves: modules in ``sys.modules``. A scheduler forks its LocalExecutor's workers.
If a thread is importing a module at that moment, the child has that module half imported and locked
for ever, and waits for it when it needs it; of those here Airflow's supervisor runs every task.
https://docs.python.org/3/library/os.html#os.fork
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules

__all__ = ("preload",)

_MODULES = (
    "encodings.idna",  # for names of hosts
    "hashlib",
    "pushgate.transport.response",
    "pushgate.protocol.groups",
    "pushgate.transport.handler",
    "pushgate_airflow._airflow",
    # For connections, and what they import in turn:
    "multiprocessing.reduction",
    "airflow.sdk.bases.hook",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.coordinator",
    "airflow.sdk.execution_time.request_handlers",
    "airflow.sdk.execution_time.schema.migrator",
    "airflow.sdk.execution_time.supervisor",
)
_OUTBOX = "pushgate.outbox"


def preload() -> None:
    """Import what pushing and keeping take, and looking a connection up: 0.1 s, in a process."""
    for name in _MODULES:
        with suppress(ImportError):  # Airflow's differ between its versions
            import_module(name)
    with suppress(ImportError):  # a Python without sqlite3
        for module in iter_modules(import_module(_OUTBOX).__path__, f"{_OUTBOX}."):
            import_module(module.name)  # which it does itself when something waits
    with suppress(Exception):  # secrets backends may be anybody's
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

        ensure_secrets_backend_loaded()
